-- Overlaps: files that begin before an earlier one of the same station and band has ended, beside that earlier one.
-- plot: spans label=station,freq_start,freq_stop start=overlap_start stop=overlap_stop
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
SELECT station, freq_start, freq_stop, earlier_sha256, sha256, start AS overlap_start,
       least(stop, earlier_stop) AS overlap_stop,
       round(dateDiff('millisecond', overlap_start, overlap_stop) / 1000, 3) AS overlap_s
FROM (
    SELECT station, freq_start, freq_stop, sha256, start, stop,
           max((stop, sha256)) OVER (PARTITION BY station, freq_start, freq_stop ORDER BY start, stop, sha256
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier,
           earlier.1 AS earlier_stop, earlier.2 AS earlier_sha256
    FROM (
        SELECT station, freq_start, freq_stop, sha256, min(time_start) AS start, max(time_stop) AS stop
        FROM spectra_now
        WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
          AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
          AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
          AND freq_start <= %(high)s AND freq_stop >= %(low)s
        GROUP BY station, freq_start, freq_stop, sha256
    )
)
WHERE earlier_stop > start ORDER BY station, freq_start, freq_stop, overlap_start
