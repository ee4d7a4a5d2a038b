-- Stations: share of the contacts that went well, the last good one, and why others failed. What failed for a reason
-- of the server's own (its disk, database or broker) does not count against the station and is told beside.
-- plot: bars x=station y=available
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
WITH named AS (
    SELECT host_id, host_uid, 1 AS rank FROM hosts_now
    UNION ALL
    SELECT host_id, host_uid, 0 FROM host_events
    WHERE at >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') AND at < parseDateTime64BestEffort(%(until)s, 3, 'UTC')
)
SELECT host_id, station, countIf(counts) AS contacts,
       if(contacts > 0, round(countIf(counts AND outcome = 'ok') / contacts, 4), nan) AS available,
       maxIf(at, outcome = 'ok') AS last_good,
       arrayMap(reason -> concat(reason, ': ', toString(arrayCount(code -> code = reason,
                                                                   groupArrayIf(code, counts AND outcome = 'error')))),
                arraySort(groupUniqArrayIf(code, counts AND outcome = 'error'))) AS reasons,
       argMaxIf(text, at, outcome = 'error') AS last_error, countIf(outcome = 'error' AND NOT counts) AS server_errors
FROM (
    SELECT host_id, argMaxIf(host_uid, rank, host_uid != '') AS station FROM named
    WHERE host_id IN (SELECT host_id FROM named WHERE host_uid LIKE %(station)s)
    GROUP BY host_id
) AS hosts
LEFT JOIN (
    SELECT host_id, toString(outcome) AS outcome, toString(code) AS code, text, at,
           outcome = 'ok' OR code NOT IN ('repository', 'catalog', 'catalog_refused', 'broker', 'config',
                                          'invalid_message') AS counts
    FROM host_events_now
    WHERE event IN ('host_check', 'backup_done', 'backup_failed', 'backup_waiting')
      AND at >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') AND at < parseDateTime64BestEffort(%(until)s, 3, 'UTC')
      AND host_id IN (SELECT host_id FROM named WHERE host_uid LIKE %(station)s)
) AS events USING (host_id)
WHERE station LIKE %(station)s
GROUP BY host_id, station ORDER BY available, host_id
