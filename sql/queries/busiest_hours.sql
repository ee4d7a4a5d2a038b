-- The busiest hours of a band: highest mean of the 90 %% levels, by station.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :count int 10 rows
SELECT station, unit, toStartOfHour(time_start) AS hour, round(avg(level_p90), 2) AS level, sum(traces) AS samples
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s AND freq_start <= %(high)s AND freq_stop >= %(low)s AND isFinite(level_p90)
GROUP BY station, unit, hour ORDER BY level DESC, station, unit, hour LIMIT %(count)s
