-- Coverage: hours measured on each day, by station and band. Times that several recordings share count once,
-- and what goes on past midnight counts on both days.
-- plot: heatmap x=day y=station,freq_start,freq_stop value=hours
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
SELECT station, freq_start, freq_stop, toDate(day_number) AS day, count() AS spectra,
       round(intervalLengthSum(greatest(start, toInt64(86400000 * day_number)),
                               least(stop, toInt64(86400000 * (day_number + 1)))) / 3600000, 3) AS hours,
       round(hours / 24, 4) AS share
FROM (
    SELECT station, freq_start, freq_stop,
           greatest(toUnixTimestamp64Milli(time_start), toUnixTimestamp64Milli(parseDateTime64BestEffort(%(since)s, 3, 'UTC'))) AS start,
           least(toUnixTimestamp64Milli(time_stop), toUnixTimestamp64Milli(parseDateTime64BestEffort(%(until)s, 3, 'UTC'))) AS stop,
           arrayJoin(range(toUInt32(intDiv(start, 86400000)),
                           toUInt32(intDiv(greatest(start, stop - 1), 86400000)) + 1)) AS day_number
    FROM spectra_now
    WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
      AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
      AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
      AND freq_start <= %(high)s AND freq_stop >= %(low)s
)
GROUP BY station, freq_start, freq_stop, day_number ORDER BY station, freq_start, freq_stop, day
