-- What there is for a band, a place and a period: one row a station and band.
-- :since text 1970-01-01 first day, UTC
-- :until text 2100-01-01 first day that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :latitude float 0 degrees, middle of the place
-- :longitude float 0 degrees, middle of the place
-- :radius_km float 40000 how far from there; spectra without a position count only for 40000
SELECT station, freq_start, freq_stop, unit, count() AS spectra, sum(traces) AS traces,
       min(time_start) AS first, max(time_stop) AS last
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s) AND time_stop >= parseDateTime64BestEffort(%(since)s)
  AND station LIKE %(station)s AND freq_start <= %(high)s AND freq_stop >= %(low)s
  AND (%(radius_km)s >= 40000
       OR greatCircleDistance(longitude, latitude, %(longitude)s, %(latitude)s) <= 1000 * %(radius_km)s)
GROUP BY station, freq_start, freq_stop, unit ORDER BY station, freq_start, freq_stop, unit
