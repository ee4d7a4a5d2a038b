"""ClickHouse for laptops, demos and tests: chDB behind a native-protocol listener.

`python -m uploaderd.catalog.embedded --data FOLDER --port N` runs it as a process of its own. It
listens on loopback only and asks for no password. Production points `database` at a real server.
"""
