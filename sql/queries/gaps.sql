-- Gaps: where a station measured nothing in a band for longer than some hours. If a period is given,
-- the time before its first and after its last recording counts too, up to now.
-- plot: spans label=station,freq_start,freq_stop start=gap_start stop=gap_stop
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :hours float 1 shortest gap that is told
WITH recordings AS (
    SELECT station, freq_start, freq_stop, time_start, time_stop FROM spectra_now
    WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
      AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
      AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
      AND freq_start <= %(high)s AND freq_stop >= %(low)s
)
SELECT station, freq_start, freq_stop, gap_start, gap_stop,
       round(dateDiff('millisecond', gap_start, gap_stop) / 3600000, 3) AS hours
FROM (
    SELECT station, freq_start, freq_stop, time_start AS gap_stop,
           max(time_stop) OVER (PARTITION BY station, freq_start, freq_stop ORDER BY time_start, time_stop
                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS gap_start
    FROM recordings
    UNION ALL
    SELECT station, freq_start, freq_stop, min(time_start) AS gap_stop,
           parseDateTime64BestEffort(%(since)s, 3, 'UTC') AS gap_start
    FROM recordings GROUP BY station, freq_start, freq_stop
    UNION ALL
    SELECT station, freq_start, freq_stop,
           least(parseDateTime64BestEffort(%(until)s, 3, 'UTC'), now64(3, 'UTC')) AS gap_stop, max(time_stop) AS gap_start
    FROM recordings WHERE parseDateTime64BestEffort(%(until)s, 3, 'UTC') < toDateTime64('2100-01-01', 3, 'UTC')
    GROUP BY station, freq_start, freq_stop
)
WHERE toUnixTimestamp64Milli(gap_start) > 0 AND dateDiff('millisecond', gap_start, gap_stop) > 3600000 * %(hours)s
ORDER BY station, freq_start, freq_stop, gap_start
