-- Duplicates: files of the same content, with the places they lie in.
SELECT sha256, count() AS copies, any(size) AS size, groupArray((host_uid, remote_path, path)) AS places
FROM files_now WHERE sha256 != '' GROUP BY sha256 HAVING copies > 1 ORDER BY copies DESC, sha256
