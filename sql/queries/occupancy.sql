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
    SELECT station, unit, toDateTime64(hour_number * 3600, 0, 'UTC') AS hour, any(middles) AS middle_of,
           sumForEach(arrayMap((c, share) -> c * seen * share.1, counts, shares)) AS least_of,
           sumForEach(arrayMap((c, share) -> c * seen * share.2, counts, shares)) AS sure_of,
           sumForEach(arrayMap((c, share) -> c * seen * share.3, counts, shares)) AS most_of,
           sumForEach(arrayMap(c -> c * seen, counts)) AS weight_of,
           avg(threshold) AS mean_threshold, avgIf(revisit_s, isFinite(revisit_s)) AS revisit,
           sum(seen) AS samples, sum(within) / 1000 AS observed
    FROM (
        SELECT station, unit, freq_start, freq_stop, points, traces, revisit_s,
               if(isNaN(%(threshold)s), level_p10 + %(margin)s, %(threshold)s) AS threshold,
               10 * threshold AS edge, length(profile_max) AS bins,
               arrayMap(k -> freq_start + (freq_stop - freq_start) / greatest(points - 1, 1) / 2
                             * (intDiv(k * points, bins) + greatest(intDiv((k + 1) * points, bins), 1) - 1),
                        range(bins)) AS middles,
               arrayMap((level, middle) -> level != -32768 AND middle BETWEEN %(low)s AND %(high)s,
                        profile_max, middles) AS counts,
               arrayMap((low, p10, p50, p90, high, mean) -> multiIf(
                            low > edge, (1, 1, 1),
                            p10 > edge, (0.9, 0.95, 1),
                            p50 > edge, (0.5, greatest(0.5, least(0.9, (mean - p10) / (p50 - p10))), 0.9),
                            p90 > edge, (0.1, greatest(0.1, least(0.5, (mean - p50) / (p90 - p50))), 0.5),
                            high > edge, (least(0.1, 1 / traces), least(0.1, 0.05 + 1 / traces / 2), 0.1),
                            (0, 0, 0)),
                        profile_min, profile_p10, profile_p50, profile_p90, profile_max, profile_mean) AS shares,
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
    GROUP BY station, unit, freq_start, freq_stop, points, bins, hour
)
ARRAY JOIN middle_of AS middle, least_of AS at_least, sure_of AS sure, most_of AS at_most, weight_of AS weight
WHERE weight > 0
GROUP BY station, channel, unit, hour ORDER BY station, channel, unit, hour
