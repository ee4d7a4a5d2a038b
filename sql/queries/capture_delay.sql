-- Freshness: seconds from the last trace of a file to its being in the catalog, by station.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
SELECT station, count() AS files, round(quantileExact(0.5)(delay), 3) AS p50_s,
       round(quantileExact(0.95)(delay), 3) AS p95_s
FROM (
    SELECT station, sha256, dateDiff('millisecond', max(time_stop), toDateTime64(max(ingested_at), 3)) / 1000 AS delay
    FROM spectra_now WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s GROUP BY station, sha256
)
GROUP BY station ORDER BY station
