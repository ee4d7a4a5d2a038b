-- Coverage: hours between first and last trace, summed over the spectra of a day, by station and band.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
SELECT station, freq_start, freq_stop, toDate(time_start) AS day, count() AS spectra,
       round(sum(dateDiff('millisecond', time_start, time_stop)) / 3600000, 3) AS hours
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s AND freq_start <= %(high)s AND freq_stop >= %(low)s
GROUP BY station, freq_start, freq_stop, day ORDER BY station, freq_start, freq_stop, day
