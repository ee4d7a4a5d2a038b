-- Volume: files and bytes by month of arrival and station.
-- plot: bars x=month y=bytes label=station
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
SELECT toStartOfMonth(if(fetched_at > 0, fetched_at, processed_at) AS arrived) AS month, host_id,
       argMax(host_uid, version) AS station, count() AS files, sum(size) AS bytes, countIf(stage = 'trashed') AS trashed
FROM files_now
WHERE arrived > 0 AND host_uid LIKE %(station)s
  AND arrived >= parseDateTime64BestEffort(%(since)s, 3, 'UTC') AND arrived < parseDateTime64BestEffort(%(until)s, 3, 'UTC')
GROUP BY month, host_id ORDER BY month, host_id
