-- Stations: share of the checks that went well, the last good one and the last error.
-- :since text 1970-01-01 first day, UTC
SELECT host_id, any(host_uid) AS station, count() AS checks, round(countIf(outcome = 'ok') / count(), 4) AS available,
       maxIf(at, outcome = 'ok') AS last_good, argMaxIf(code, at, outcome = 'error') AS last_code,
       argMaxIf(text, at, outcome = 'error') AS last_error
FROM host_events_now
WHERE event IN ('check', 'backup_done', 'backup_failed', 'backup_waiting') AND at >= parseDateTime64BestEffort(%(since)s)
GROUP BY host_id ORDER BY available, host_id
