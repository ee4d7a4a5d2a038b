-- Waterfall: the level profile of each recording over time, lowest frequency first; nan where nothing was measured.
-- plot: waterfall
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :level text max which profile: max, mean, p50, p90 or min
-- :count int 2000 most recordings
SELECT station, unit, freq_start, freq_stop, time_start, time_stop, traces,
       arrayMap(tenth -> if(tenth = -32768, nan, tenth / 10),
                multiIf(%(level)s = 'mean', profile_mean, %(level)s = 'p50', profile_p50,
                        %(level)s = 'p90', profile_p90, %(level)s = 'min', profile_min, profile_max)) AS levels
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
  AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
  AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
  AND freq_start <= %(high)s AND freq_stop >= %(low)s
  AND notEmpty(profile_max)
ORDER BY station, unit, freq_start, freq_stop, time_start, spectrum_id LIMIT %(count)s
