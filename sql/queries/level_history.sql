-- Levels of a band over the days: lowest, median and highest, by station.
-- plot: lines x=day y=lowest,median,highest label=station
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
SELECT station, unit, toDate(time_start) AS day, round(min(level_min), 2) AS lowest,
       round(median(level_p50), 2) AS median, round(max(level_max), 2) AS highest, sum(traces) AS samples
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
  AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
  AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
  AND freq_start <= %(high)s AND freq_stop >= %(low)s
  AND isFinite(level_p50)
GROUP BY station, unit, day ORDER BY station, unit, day
