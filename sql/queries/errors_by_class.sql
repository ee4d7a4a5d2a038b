-- Errors: how often each class of error, by week and station.
SELECT toStartOfWeek(greatest(processed_at, fetched_at, discovered_at), 1) AS week, host_id, error_code, stage,
       count() AS files, any(error_text) AS example
FROM files_now WHERE error_code != '' GROUP BY week, host_id, error_code, stage
ORDER BY week, host_id, error_code, stage
