-- Overlaps: pairs of spectra of one station and band whose times overlap, from different content.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
SELECT a.station AS station, a.freq_start AS freq_start, a.freq_stop AS freq_stop,
       a.spectrum_id AS first_id, b.spectrum_id AS second_id,
       greatest(a.time_start, b.time_start) AS overlap_start, least(a.time_stop, b.time_stop) AS overlap_stop
FROM (SELECT * FROM spectra_now WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s) AS a
JOIN (SELECT * FROM spectra_now WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s) AS b
  ON a.station = b.station AND a.freq_start = b.freq_start AND a.freq_stop = b.freq_stop
WHERE a.spectrum_id < b.spectrum_id AND a.sha256 != b.sha256
  AND a.time_start < b.time_stop AND b.time_start < a.time_stop
ORDER BY station, freq_start, overlap_start
