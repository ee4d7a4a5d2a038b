-- Volume: files and bytes by month of arrival and station.
-- plot: bars x=month y=bytes label=station
-- :station text % station, LIKE pattern
SELECT toStartOfMonth(if(toUnixTimestamp64Milli(fetched_at) > 0, fetched_at, processed_at)) AS month, host_id,
       any(host_uid) AS station, count() AS files, sum(size) AS bytes, countIf(stage = 'trashed') AS trashed
FROM files_now
WHERE (toUnixTimestamp64Milli(fetched_at) > 0 OR toUnixTimestamp64Milli(processed_at) > 0) AND host_uid LIKE %(station)s
GROUP BY month, host_id ORDER BY month, host_id
