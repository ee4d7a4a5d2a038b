-- Duplicates: contents that came as several files, with the bytes that the copies take and where they lie; at least
-- one of the files came from the station and in the period, the others from anywhere at any time.
-- :since text 1970-01-01 first moment, UTC
-- :until text 2100-01-01 moment that counts no more, UTC
-- :station text % station, LIKE pattern
WITH copies AS (
    SELECT content, host_id, file_id FROM files
    WHERE content != cityHash64('') AND (
        %(station)s = '%%' AND %(since)s = '1970-01-01' AND %(until)s = '2100-01-01'
        OR content GLOBAL IN (
            SELECT content FROM files
            WHERE host_uid LIKE %(station)s
              AND if(fetched_at > 0, fetched_at, processed_at) >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
              AND if(fetched_at > 0, fetched_at, processed_at) < parseDateTime64BestEffort(%(until)s, 3, 'UTC')))
)
SELECT sha256, count() AS copies, any(size) AS size, size * (uniqExact(path) - 1) AS wasted,
       arraySort(groupArray((host_uid, remote_path, path))) AS places
FROM files_now
WHERE sha256 != '' AND (host_id, file_id) GLOBAL IN (
    SELECT host_id, file_id FROM copies
    WHERE content GLOBAL IN (SELECT content FROM copies GROUP BY content HAVING count() > 1)
)
GROUP BY sha256
HAVING copies > 1
   AND countIf(host_uid LIKE %(station)s
               AND if(fetched_at > 0, fetched_at, processed_at) >= parseDateTime64BestEffort(%(since)s, 3, 'UTC')
               AND if(fetched_at > 0, fetched_at, processed_at) < parseDateTime64BestEffort(%(until)s, 3, 'UTC')) > 0
ORDER BY copies DESC, sha256
