-- Roles for a production server, to be run once by its administrator with the database's name in place.
CREATE ROLE IF NOT EXISTS uploaderd_writer;
CREATE ROLE IF NOT EXISTS uploaderd_reader;
CREATE ROLE IF NOT EXISTS uploaderd_analyst;
GRANT SELECT, INSERT ON uploaderd.* TO uploaderd_writer;
GRANT SELECT ON uploaderd.* TO uploaderd_reader, uploaderd_analyst;
CREATE SETTINGS PROFILE IF NOT EXISTS uploaderd_analyst
    SETTINGS readonly = 2, max_execution_time = 60, max_memory_usage = 8000000000 TO uploaderd_analyst;
