-- Places by hours and by days, as by_app. A place is a city, or a country or region when no more is known; its
-- coordinates are those of one of its events, 0 and 0 when there are none.
CREATE TABLE IF NOT EXISTS ${database}.by_place
(
    tenant    LowCardinality(String),
    step      UInt32 CODEC(ZSTD(1)),
    bucket    DateTime('UTC') CODEC(Delta, ZSTD(1)),
    country   LowCardinality(String),
    region    LowCardinality(String),
    city      LowCardinality(String),
    lat       SimpleAggregateFunction(any, Float64) CODEC(ZSTD(1)),
    lon       SimpleAggregateFunction(any, Float64) CODEC(ZSTD(1)),
    radius_km SimpleAggregateFunction(any, Float32) CODEC(ZSTD(1)),
    events    AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    users     AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, step, bucket, country, region, city)
TTL bucket + INTERVAL 800 DAY, bucket + INTERVAL 40 DAY DELETE WHERE step = 3600
SETTINGS
    -- A row holds sets of some kilobytes, and few rows of a step lie together.
    index_granularity = 256,
    -- A month that nothing was written into for a week becomes one part.
    min_age_to_force_merge_seconds = 604800,
    min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
