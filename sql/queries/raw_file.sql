-- The raw file behind a row: where the file of a spectrum came from, and where it lies in the repository.
-- :spectrum_id text - id of the spectrum
SELECT host_uid AS station, remote_path, path, sha256, size,
       fromUnixTimestamp64Nano(mtime_ns, 'UTC') AS modified, verified, stage
FROM files_now
WHERE (host_id, file_id) GLOBAL IN (
    SELECT host_id, file_id FROM spectra
    WHERE left(spectrum_id, 24) = left(%(spectrum_id)s, 24) AND spectrum_id = %(spectrum_id)s
    ORDER BY ingested_at DESC LIMIT 1 BY station, time_start, freq_start, spectrum_id
)
ORDER BY station, remote_path, modified, file_id
