-- The role that Grafana reads with: five tables, and nothing else. For psql, as a superuser, in the
-- server's database, once the server has made its tables. The password comes from the environment,
-- or by a line `\set password '…'` before these; docs/deployment.md shows both.
--
-- To be run again with another password, or when a new version of the server reads more tables.
\set ON_ERROR_STOP on
\set role grafana
\getenv role GRAFANA_DB_USER
\if :{?password}
\else
    \set password ''
\endif
\getenv password GRAFANA_DB_PASSWORD

SELECT :'password' = '' AS without_password,
       EXISTS (SELECT FROM pg_roles WHERE rolname = :'role' AND rolsuper)
       OR EXISTS (SELECT FROM pg_tables WHERE tablename = 'readings' AND tableowner = :'role')
       AS is_needed_elsewhere \gset
\if :without_password
    \warn 'No role for Grafana: set GRAFANA_DB_PASSWORD to what it shall sign in with.'
    \quit
\endif
-- It could not write any more.
\if :is_needed_elsewhere
    \warn 'No role for Grafana: set GRAFANA_DB_USER to one that nobody else uses.'
    \quit
\endif

BEGIN;
SELECT format('CREATE ROLE %I', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN PASSWORD :'password' CONNECTION LIMIT 10;
ALTER ROLE :"role" SET default_transaction_read_only = on;
ALTER ROLE :"role" SET statement_timeout = '30s';
GRANT SELECT ON sensors, readings, measurements, rollups_minute, rollups_hour TO :"role";
COMMIT;
