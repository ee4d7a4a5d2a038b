-- Spectrum: lowest, mean, median, 90 % and highest level over frequency, of the level profiles of a period or of
-- one spectrum; the mean is weighted by traces, median and 90 % are the mean of the recordings'.
-- plot: profile
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :spectrum_id text % id of one spectrum; %: all
SELECT station, unit, freq_start, freq_stop, toUInt64(middle) AS frequency, round(low / 10, 1) AS lowest,
       round(total / weight / 10, 1) AS mean, round(half / weight / 10, 1) AS p50,
       round(most / weight / 10, 1) AS p90, round(high / 10, 1) AS highest, toUInt64(weight) AS samples
FROM (
    SELECT station, unit, freq_start, freq_stop, points, length(profile_max) AS bins,
           arrayMap(k -> freq_start + (freq_stop - freq_start) / greatest(points - 1, 1) / 2
                         * (intDiv(k * points, bins) + greatest(intDiv((k + 1) * points, bins), 1) - 1),
                    range(bins)) AS middles,
           minForEach(arrayMap(level -> if(level = -32768, 32767, level), profile_min)) AS lows,
           maxForEach(profile_max) AS highs,
           sumForEach(arrayMap(level -> if(level = -32768, 0, level * toInt64(traces)), profile_mean)) AS totals,
           sumForEach(arrayMap(level -> if(level = -32768, 0, level * toInt64(traces)), profile_p50)) AS halves,
           sumForEach(arrayMap(level -> if(level = -32768, 0, level * toInt64(traces)), profile_p90)) AS mosts,
           sumForEach(arrayMap(level -> if(level = -32768, 0, toInt64(traces)), profile_mean)) AS weights
    FROM spectra_now
    WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
      AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
      AND station LIKE %(station)s
      AND freq_start <= %(high)s AND freq_stop >= %(low)s
      AND (%(spectrum_id)s = '%%' OR left(spectrum_id, 24) = left(%(spectrum_id)s, 24) AND spectrum_id = %(spectrum_id)s)
      AND notEmpty(profile_p50)
    GROUP BY station, unit, freq_start, freq_stop, points, bins
)
ARRAY JOIN middles AS middle, lows AS low, highs AS high, totals AS total, halves AS half, mosts AS most,
           weights AS weight
WHERE weight > 0 AND middle BETWEEN %(low)s AND %(high)s
ORDER BY station, unit, freq_start, freq_stop, frequency
