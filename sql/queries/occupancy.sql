-- Occupancy by station, channel and hour: the share of the traces in which the level is above the threshold
-- (frequency channel occupancy of ITU-R SM.1880), told from the level profiles, with the bounds between which
-- it is certain to lie. Beside it: threshold method, revisit time, number of samples (traces), time observed.
-- plot: heatmap x=hour y=station,channel value=occupancy
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :channel int 1000000 Hz, width of a channel; a channel begins at a multiple of it
-- :threshold float nan fixed threshold in the unit of the levels; nan: a dynamic one
-- :margin float 10 dB of the dynamic threshold above the level that 10 % of a recording's levels do not exceed
SELECT station, toUInt64(intDiv(middle, %(channel)s) * %(channel)s) AS channel, unit, hour,
       round(sum(sure) / sum(weight), 4) AS occupancy,
       round(sum(at_least) / sum(weight), 4) AS occupancy_min, round(sum(at_most) / sum(weight), 4) AS occupancy_max,
       if(isNaN(%(threshold)s), concat('dynamic: 10 %% level + ', toString(%(margin)s), ' dB'), 'fixed') AS method,
       round(avg(mean_threshold), 2) AS threshold, round(avg(revisit), 3) AS revisit_s,
       toUInt64(round(max(samples))) AS samples, round(max(observed), 1) AS observed_s
FROM (
    SELECT station, unit, toDateTime64(hour_number * 3600, 0, 'UTC') AS hour,
           arrayMap(k -> freq_start + (freq_stop - freq_start) / greatest(points - 1, 1) / 2
                         * (intDiv(k * points, bins) + greatest(intDiv((k + 1) * points, bins), 1) - 1),
                    range(first, last)) AS middle_of,
           sumForEach(arrayMap((low, p10, p50, p90, high) -> if(high = -32768, 0, seen * (
                          0.1 * (low > edge) + 0.4 * (p10 > edge) + 0.4 * (p50 > edge)
                          + if(p90 > edge, 0.1, (high > edge) * least(0.1, 1 / traces)))),
                      lows, p10s, p50s, p90s, highs)) AS least_of,
           sumForEach(arrayMap((low, p10, p50, p90, high, mean) -> if(high = -32768, 0, seen * multiIf(
                          low > edge, 1,
                          p10 > edge, 0.95,
                          p50 > edge, greatest(0.5, least(0.9, (mean - p10) / (p50 - p10))),
                          p90 > edge, greatest(0.1, least(0.5, (mean - p50) / (p90 - p50))),
                          high > edge, least(0.1, 0.05 + 1 / traces / 2),
                          0)),
                      lows, p10s, p50s, p90s, highs, means)) AS sure_of,
           sumForEach(arrayMap((p10, p50, p90, high) -> if(high = -32768, 0, seen * (
                          0.1 * (p10 > edge) + 0.4 * (p50 > edge) + 0.4 * (p90 > edge) + 0.1 * (high > edge))),
                      p10s, p50s, p90s, highs)) AS most_of,
           sumForEach(arrayMap(high -> seen * (high != -32768), highs)) AS weight_of,
           avg(threshold) AS mean_threshold, avgIf(revisit_s, isFinite(revisit_s)) AS revisit,
           sum(seen) AS samples, sum(within) / 1000 AS observed
    FROM (
        SELECT station, unit, freq_start, freq_stop, points, traces, revisit_s,
               if(isNaN(%(threshold)s), level_p10 + %(margin)s, %(threshold)s) AS threshold,
               10 * threshold AS edge, length(profile_max) AS bins,
               -- The bins of the band asked for, and some beside it.
               bins / greatest(freq_stop - freq_start, 1) AS density,
               toUInt32(least(toFloat64(bins), greatest(0, (%(low)s - freq_start) * density - 3))) AS first,
               toUInt32(least(toFloat64(bins), greatest(first, (%(high)s - freq_start) * density + 3))) AS last,
               arraySlice(profile_min, first + 1, last - first) AS lows, arraySlice(profile_p10, first + 1, last - first) AS p10s,
               arraySlice(profile_p50, first + 1, last - first) AS p50s, arraySlice(profile_p90, first + 1, last - first) AS p90s,
               arraySlice(profile_max, first + 1, last - first) AS highs, arraySlice(profile_mean, first + 1, last - first) AS means,
               greatest(toUnixTimestamp64Milli(time_start), toUnixTimestamp64Milli(parseDateTime64BestEffort(%(since)s, 3, 'UTC'))) AS start,
               least(toUnixTimestamp64Milli(time_stop), toUnixTimestamp64Milli(parseDateTime64BestEffort(%(until)s, 3, 'UTC'))) AS stop,
               toUnixTimestamp64Milli(time_stop) - toUnixTimestamp64Milli(time_start) AS length,
               arrayJoin(range(toUInt32(intDiv(start, 3600000)),
                               toUInt32(intDiv(greatest(start, stop - 1), 3600000)) + 1)) AS hour_number,
               greatest(0, least(stop, 3600000 * (hour_number + 1)) - greatest(start, 3600000 * hour_number)) AS within,
               traces * if(length > 0, within / length, 1) AS seen
        FROM spectra_now
        WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
          AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
          AND station LIKE %(station)s AND toUnixTimestamp64Milli(time_start) > 0
          AND freq_start <= %(high)s AND freq_stop >= %(low)s
          AND notEmpty(profile_p50) AND isFinite(level_p10) AND unit != '%%'
    )
    GROUP BY station, unit, freq_start, freq_stop, points, bins, first, last, hour_number
)
ARRAY JOIN middle_of AS middle, least_of AS at_least, sure_of AS sure, most_of AS at_most, weight_of AS weight
WHERE weight > 0 AND middle BETWEEN %(low)s AND %(high)s
GROUP BY station, channel, unit, hour ORDER BY station, channel, unit, hour
