-- Gaps: where a station measured nothing in a band for longer than some hours.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :hours float 1 shortest gap that is told
SELECT station, freq_start, freq_stop, gap_start, gap_stop,
       round(dateDiff('millisecond', gap_start, gap_stop) / 3600000, 3) AS hours
FROM (
    SELECT station, freq_start, freq_stop, time_start AS gap_stop,
           max(time_stop) OVER (PARTITION BY station, freq_start, freq_stop ORDER BY time_start, spectrum_id
                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS gap_start
    FROM spectra_now WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s AND freq_start <= %(high)s AND freq_stop >= %(low)s
)
WHERE gap_start > toDateTime64(0, 3) AND dateDiff('millisecond', gap_start, gap_stop) > 3600000 * %(hours)s
ORDER BY station, freq_start, gap_start
