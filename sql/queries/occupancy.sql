-- Occupancy by station, band and hour of the day: the share of frequency bins whose level is above the
-- threshold in at least 10 %% of the traces (fixed threshold; see ITU-R SM.1880), with revisit time and samples.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :threshold float -90 level in the unit of the spectra
SELECT station, freq_start, freq_stop, unit, toHour(time_start) AS hour,
       round(sum(arrayCount(l -> l > 10 * %(threshold)s, profile_p90))
             / sum(arrayCount(l -> l != -32768, profile_p90)), 4) AS occupancy,
       'fixed threshold' AS method, %(threshold)s AS threshold,
       round(avgIf(revisit_s, isFinite(revisit_s)), 3) AS revisit_s, sum(traces) AS samples
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s AND freq_start <= %(high)s AND freq_stop >= %(low)s AND notEmpty(profile_p90)
GROUP BY station, freq_start, freq_stop, unit, hour ORDER BY station, freq_start, freq_stop, unit, hour
