-- Duplicates: contents that came as several files, with the bytes that the copies take and where they lie.
SELECT sha256, count() AS copies, any(size) AS size, size * (uniqExact(path) - 1) AS wasted,
       arraySort(groupArray((host_uid, remote_path, path))) AS places
FROM files_now
WHERE sha256 != '' AND (host_id, file_id) GLOBAL IN (
    SELECT host_id, file_id FROM files WHERE cityHash64(sha256) GLOBAL IN (
        SELECT cityHash64(sha256) AS content FROM files WHERE sha256 != '' GROUP BY content HAVING count() > 1
    )
)
GROUP BY sha256 HAVING copies > 1 ORDER BY copies DESC, sha256
