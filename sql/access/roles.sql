-- Roles for a production server, to be run once by its administrator; `uploaderd` is the database's name.
--
-- uploaderd_owner     migrates, repairs, backs up and restores: uploaderctl catalog, refresh and load
-- uploaderd_writer    the daemon's services
-- uploaderd_reader    dashboards and publication
-- uploaderd_analyst   people with questions of their own, within limits
CREATE ROLE IF NOT EXISTS uploaderd_owner;
CREATE ROLE IF NOT EXISTS uploaderd_writer;
CREATE ROLE IF NOT EXISTS uploaderd_reader;
CREATE ROLE IF NOT EXISTS uploaderd_analyst;

GRANT SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE ON uploaderd.* TO uploaderd_owner;
GRANT CREATE DATABASE ON uploaderd.* TO uploaderd_owner;
GRANT SELECT, INSERT ON uploaderd.* TO uploaderd_writer;
GRANT SELECT ON uploaderd.* TO uploaderd_reader, uploaderd_analyst;
GRANT SELECT ON system.tables TO uploaderd_owner, uploaderd_writer, uploaderd_reader;
GRANT SELECT ON system.parts TO uploaderd_owner, uploaderd_writer, uploaderd_reader;
GRANT SELECT ON system.disks TO uploaderd_writer;
-- The check of a target removes the receipt that it wrote.
GRANT ALTER DELETE ON uploaderd.receipts TO uploaderd_writer;
GRANT SELECT ON system.columns TO uploaderd_owner, uploaderd_writer, uploaderd_reader, uploaderd_analyst;

-- readonly = 2: settings of a query may be changed, as clients do, but within these constraints.
CREATE SETTINGS PROFILE IF NOT EXISTS uploaderd_reader
    SETTINGS readonly = 2, max_execution_time = 600 MAX 3600 TO uploaderd_reader;
CREATE SETTINGS PROFILE IF NOT EXISTS uploaderd_analyst
    SETTINGS readonly = 2, max_execution_time = 60 MAX 300, max_memory_usage = 8000000000 MAX 16000000000,
             max_result_rows = 10000000, result_overflow_mode = 'throw' TO uploaderd_analyst;
CREATE QUOTA IF NOT EXISTS uploaderd_analyst FOR INTERVAL 1 hour MAX queries = 2000, execution_time = 1800
    TO uploaderd_analyst;
