-- One row an incident that people were told of, as it was last.
CREATE TABLE IF NOT EXISTS ${database}.alerts
(
    tenant   LowCardinality(String),
    id       FixedString(16) CODEC(NONE),
    -- When the record entered the log, then its place there: an incident changes often.
    version  UInt64 CODEC(ZSTD(1)),
    logged   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kind     LowCardinality(String),
    severity LowCardinality(String),
    user_id  String CODEC(ZSTD(1)),
    since    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    opened   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- 1970-01-01 while it is open.
    closed   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    raw      String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
-- Not partitioned: an incident's rows must meet whatever they say, and there are few of them.
ORDER BY (tenant, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
