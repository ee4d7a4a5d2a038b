-- Contents: what there is for a place, a band and a period: one row a station and band.
-- A place is a state, county, site or name (LIKE pattern), or a circle around a position.
-- plot: spans label=station,freq_start,freq_stop start=first stop=last
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
-- :low int 0 Hz, lower edge
-- :high int 1000000000000 Hz, upper edge
-- :place text % state, county, site or name of the place, LIKE pattern without regard to case
-- :latitude float 0 degrees, middle of the circle
-- :longitude float 0 degrees, middle of the circle
-- :radius_km float 40000 how far from there; spectra without a position count only for 40000
SELECT station, freq_start, freq_stop, unit, count() AS spectra, sum(traces) AS traces,
       uniqExact(sha256) AS files, minIf(time_start, toUnixTimestamp64Milli(time_start) > 0) AS first,
       max(time_stop) AS last, arraySort(groupUniqArrayIf(10)(site_id, site_id != '')) AS sites
FROM spectra_now
WHERE time_start < parseDateTime64BestEffort(%(until)s, 3, 'UTC') AND time_stop >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
  AND time_start >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') - INTERVAL 31 DAY
  AND station LIKE %(station)s
  AND freq_start <= %(high)s AND freq_stop >= %(low)s
  AND (%(place)s = '%%' OR site_id IN (
       SELECT site_id FROM sites_now
       WHERE site_id ILIKE %(place)s OR name ILIKE %(place)s OR county ILIKE %(place)s OR state ILIKE %(place)s))
  AND (%(radius_km)s >= 40000
       OR greatCircleDistance(longitude, latitude, %(longitude)s, %(latitude)s) <= 1000 * %(radius_km)s)
GROUP BY station, freq_start, freq_stop, unit ORDER BY station, freq_start, freq_stop, unit
