-- Freshness: seconds from the last trace of a file to its being in the catalog, half of the files and 95 % of them,
-- by station. A negative delay tells of a station's clock that is ahead; such files are counted beside.
-- plot: bars x=station y=p50_s,p95_s
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
SELECT station, count() AS files, round(quantileExact(0.5)(delay), 3) AS p50_s,
       round(quantileExact(0.95)(delay), 3) AS p95_s, round(max(delay), 3) AS longest_s,
       countIf(delay < 0) AS clock_ahead
FROM (
    SELECT station, sha256,
           dateDiff('millisecond', max(time_stop), toDateTime64(max(ingested_at), 3, 'UTC')) / 1000 AS delay
    FROM spectra_now
    WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
      AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
      AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
    GROUP BY station, sha256
)
GROUP BY station ORDER BY station
