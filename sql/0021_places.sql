-- Moving stations are tracks and no sites; official codes and the gazetteer are loaded by whoever has them.
CREATE TABLE IF NOT EXISTS tracks (
    host_id UInt64 COMMENT 'Station' CODEC(T64, ZSTD(1)),
    station LowCardinality(String) COMMENT 'The equipment''s own name',
    file_id FixedString(32) COMMENT 'File that the position was read from' CODEC(ZSTD(1)),
    time_start DateTime64(3, 'UTC') COMMENT 'First trace of the file' CODEC(DoubleDelta, ZSTD(1)),
    time_stop DateTime64(3, 'UTC') COMMENT 'Last trace of the file' CODEC(DoubleDelta, ZSTD(1)),
    latitude Float64 COMMENT 'Degrees, WGS 84: median of the fixes' CODEC(ZSTD(1)),
    longitude Float64 COMMENT 'Degrees, WGS 84: median of the fixes' CODEC(ZSTD(1)),
    altitude Float32 COMMENT 'Metres above mean sea level; NaN: unknown' CODEC(ZSTD(1)),
    spread_m Float32 COMMENT 'Largest distance of a fix from the median, metres; NaN: unknown' CODEC(ZSTD(1)),
    fixes UInt32 COMMENT 'Fixes behind the position' CODEC(T64, ZSTD(1)),
    updated_at DateTime64(6, 'UTC') COMMENT 'Version: the newest row counts' CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(updated_at) ORDER BY (host_id, time_start, file_id)
COMMENT 'Where moving stations were: one row a file; read through tracks_now';

CREATE TABLE IF NOT EXISTS gazetteer (
    country LowCardinality(String) COMMENT 'Country',
    state LowCardinality(String) COMMENT 'State or region',
    county String COMMENT 'County or municipality',
    latitude Float64 COMMENT 'Degrees, WGS 84: its seat',
    longitude Float64 COMMENT 'Degrees, WGS 84: its seat',
    radius_km Float32 COMMENT 'How far it reaches from there'
) ENGINE = ReplacingMergeTree ORDER BY (country, state, county, latitude, longitude)
COMMENT 'Circles that a position is looked up in before anything else; loaded with uploaderctl catalog reference load';

CREATE TABLE IF NOT EXISTS states (
    code UInt32 COMMENT 'Official code',
    name String COMMENT 'Name',
    abbreviation String COMMENT 'Official abbreviation'
) ENGINE = ReplacingMergeTree ORDER BY code
COMMENT 'Official codes of states; loaded with uploaderctl catalog reference load';

CREATE TABLE IF NOT EXISTS counties (
    code UInt32 COMMENT 'Official code',
    state_code UInt32 COMMENT 'Official code of the state',
    name String COMMENT 'Name'
) ENGINE = ReplacingMergeTree ORDER BY code
COMMENT 'Official codes of counties or municipalities; loaded with uploaderctl catalog reference load';

CREATE OR REPLACE VIEW tracks_now AS SELECT * FROM tracks FINAL;
CREATE OR REPLACE VIEW sites_coded AS SELECT s.site_id AS site_id,
       s.latitude AS latitude, s.longitude AS longitude, s.state AS state,
       s.county AS county, c.state_code AS state_code, c.county_code AS county_code
FROM sites_now AS s
LEFT JOIN (
    SELECT lowerUTF8(state.name) AS state_key, lowerUTF8(county.name) AS county_key,
           state.code AS state_code, county.code AS county_code
    FROM counties AS county FINAL INNER JOIN states AS state FINAL ON state.code = county.state_code
) AS c ON c.state_key = lowerUTF8(s.state) AND c.county_key = lowerUTF8(s.county);
