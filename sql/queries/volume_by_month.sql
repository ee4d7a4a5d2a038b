-- Volume: files and bytes by month of arrival and station.
SELECT toStartOfMonth(fetched_at) AS month, host_id, any(host_uid) AS station, count() AS files, sum(size) AS bytes
FROM files_now WHERE fetched_at > toDateTime64(0, 3) GROUP BY month, host_id ORDER BY month, host_id
