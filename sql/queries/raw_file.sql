-- The raw file behind a row: where the file of a spectrum came from, and where it lies in the repository.
-- :spectrum_id text - id of the spectrum
SELECT f.host_uid AS station, f.remote_path AS remote_path, f.path AS path, f.sha256 AS sha256, f.size AS size,
       fromUnixTimestamp64Nano(f.mtime_ns, 'UTC') AS modified, f.verified AS verified, f.stage AS stage
FROM spectra_now AS s JOIN files_now AS f ON s.host_id = f.host_id AND s.file_id = f.file_id
WHERE s.spectrum_id = %(spectrum_id)s
