-- Errors by class and trend: how often each in a week, the week before, the change, and the last one, by station. The source
-- is `file` (what was refused, trashed or read in part) or `station` (contacts that failed).
-- plot: bars x=week y=count label=code
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
SELECT week, station, source, code, class, count,
       any(count) OVER (PARTITION BY station, source, code, class ORDER BY week
                        RANGE BETWEEN 7 PRECEDING AND 7 PRECEDING) AS before,
       toInt64(count) - before AS change, example
FROM (
    SELECT toStartOfWeek(at, 1) AS week, station, source, code, class, count() AS count, argMax(text, (at, text)) AS example
    FROM (
        SELECT fromUnixTimestamp64Nano(toInt64(bitAnd(version, 0x1FFFFFFFFFFFFFFF)), 'UTC') AS at, host_uid AS station, 'file' AS source,
               arrayJoin(splitByChar(',', error_code)) AS code, if(stage = 'processed', 'salvaged', stage) AS class,
               error_text AS text
        FROM files_now WHERE error_code != '' AND host_uid LIKE %(station)s
        UNION ALL
        SELECT toDateTime64(at, 9, 'UTC'), if(e.host_uid = '', h.host_uid, e.host_uid), 'station', code, event, text
        FROM host_events_now AS e LEFT JOIN (SELECT host_id, host_uid FROM hosts_now) AS h USING (host_id)
        WHERE outcome = 'error' AND code != ''
          AND at >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') AND at < parseDateTime64BestEffort(%(until)s, 3, 'UTC')
          AND host_id IN (SELECT host_id FROM hosts WHERE host_uid LIKE %(station)s
                          UNION ALL SELECT host_id FROM host_events WHERE host_uid LIKE %(station)s)
    )
    WHERE at >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') AND at < parseDateTime64BestEffort(%(until)s, 3, 'UTC')
      AND station LIKE %(station)s
    GROUP BY week, station, source, code, class
)
ORDER BY week, station, source, code, class
