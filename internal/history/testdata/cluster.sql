CREATE DATABASE IF NOT EXISTS countersign ON CLUSTER main;

CREATE TABLE IF NOT EXISTS countersign.schema_migrations ON CLUSTER main
(
    version  UInt32,
    name     String,
    checksum String,
    applied  DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}', '{replica}')
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.events_local ON CLUSTER main
(
    tenant           LowCardinality(String),
    user_id          String CODEC(ZSTD(1)),
    time             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id               FixedString(16) CODEC(NONE),
    logged           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ingested         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kind             LowCardinality(String),
    user_name        String CODEC(ZSTD(1)),
    privileged       Int8 CODEC(ZSTD(1)),
    source           LowCardinality(String),
    family           LowCardinality(String),
    category         LowCardinality(String),
    outcome          LowCardinality(String),
    code             LowCardinality(String),
    interactive      Int8 CODEC(ZSTD(1)),
    app_id           String CODEC(ZSTD(1)),
    app_name         LowCardinality(String),
    resource_id      String CODEC(ZSTD(1)),
    resource_name    LowCardinality(String),
    session_id       String CODEC(ZSTD(1)),
    ip               IPv6 CODEC(ZSTD(1)),
    prefix           String CODEC(ZSTD(1)),
    asn              UInt32 CODEC(ZSTD(1)),
    org              LowCardinality(String),
    classes          LowCardinality(String),
    lat              Float64 CODEC(ZSTD(1)),
    lon              Float64 CODEC(ZSTD(1)),
    radius_km        Float32 CODEC(ZSTD(1)),
    city             LowCardinality(String),
    region           LowCardinality(String),
    country          LowCardinality(String),
    provider_country LowCardinality(String),
    device_id        String CODEC(ZSTD(1)),
    managed          Int8 CODEC(ZSTD(1)),
    compliant        Int8 CODEC(ZSTD(1)),
    os               LowCardinality(String),
    browser          LowCardinality(String),
    device_type      LowCardinality(String),
    mfa              LowCardinality(String),
    strength         LowCardinality(String),
    methods          LowCardinality(String),
    acr              LowCardinality(String),
    raw              String CODEC(ZSTD(1)),
    INDEX by_ip ip TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 4
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, user_id, time, id)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.events ON CLUSTER main AS countersign.events_local
ENGINE = Distributed('main', 'countersign', 'events_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.findings_local ON CLUSTER main
(
    tenant         LowCardinality(String),
    time           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id             FixedString(16) CODEC(NONE),
    logged         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ingested       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    detection      LowCardinality(String),
    version        UInt32 CODEC(ZSTD(1)),
    severity       LowCardinality(String),
    disposition    LowCardinality(String),
    user_id        String CODEC(ZSTD(1)),
    user_name      String CODEC(ZSTD(1)),
    event_id       FixedString(16) CODEC(NONE),
    session_id     String CODEC(ZSTD(1)),
    ip             IPv6 CODEC(ZSTD(1)),
    country        LowCardinality(String),
    technique      LowCardinality(String),
    action         LowCardinality(String),
    observed       UInt8 CODEC(ZSTD(1)),
    policy         LowCardinality(String),
    policy_version LowCardinality(String),
    requirement    String CODEC(ZSTD(1)),
    raw            String CODEC(ZSTD(1)),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_id id TYPE bloom_filter(0.001) GRANULARITY 4,
    INDEX by_event event_id TYPE bloom_filter(0.001) GRANULARITY 4
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.findings ON CLUSTER main AS countersign.findings_local
ENGINE = Distributed('main', 'countersign', 'findings_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.revocations_local ON CLUSTER main
(
    tenant         LowCardinality(String),
    requirement    String CODEC(ZSTD(1)),
    version        UInt64 CODEC(ZSTD(1)),
    logged         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id        String CODEC(ZSTD(1)),
    session_id     String CODEC(ZSTD(1)),
    action         LowCardinality(String),
    status         LowCardinality(String),
    not_before     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    expires        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    closed         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    severity       LowCardinality(String),
    scope          LowCardinality(String),
    acr_values     LowCardinality(String),
    max_age        UInt32 CODEC(ZSTD(1)),
    policy         LowCardinality(String),
    policy_version LowCardinality(String),
    reason         String CODEC(ZSTD(1)),
    event_id       String CODEC(ZSTD(1)),
    satisfied_by   String CODEC(ZSTD(1)),
    jti            String CODEC(ZSTD(1)),
    raw            String CODEC(ZSTD(1)),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', version)
ORDER BY (tenant, requirement)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.revocations ON CLUSTER main AS countersign.revocations_local
ENGINE = Distributed('main', 'countersign', 'revocations_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.receipts_local ON CLUSTER main
(
    tenant      LowCardinality(String),
    requirement String CODEC(ZSTD(1)),
    time        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id          String CODEC(ZSTD(1)),
    logged      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user_id     String CODEC(ZSTD(1)),
    session_id  String CODEC(ZSTD(1)),
    jti         String CODEC(ZSTD(1)),
    app         LowCardinality(String),
    status      LowCardinality(String),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, requirement, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.receipts ON CLUSTER main AS countersign.receipts_local
ENGINE = Distributed('main', 'countersign', 'receipts_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.dead_letters_local ON CLUSTER main
(
    time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id        String CODEC(ZSTD(1)),
    logged    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    source    LowCardinality(String),
    stage     LowCardinality(String),
    reason    String CODEC(ZSTD(1)),
    topic     LowCardinality(String),
    partition Int32 CODEC(ZSTD(1)),
    offset    Int64 CODEC(ZSTD(1)),
    line      Int64 CODEC(ZSTD(1)),
    size      UInt64 CODEC(ZSTD(1)),
    bytes     String CODEC(ZSTD(3))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
PARTITION BY toYYYYMM(time)
ORDER BY (time, id)
TTL toDateTime(logged) + INTERVAL 30 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.dead_letters ON CLUSTER main AS countersign.dead_letters_local
ENGINE = Distributed('main', 'countersign', 'dead_letters_local', cityHash64(time, id));

CREATE TABLE IF NOT EXISTS countersign.event_counts_local ON CLUSTER main
(
    tenant  LowCardinality(String),
    bucket  DateTime('UTC') CODEC(Delta, ZSTD(1)),
    outcome LowCardinality(String),
    country LowCardinality(String),
    newest  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events  AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, bucket, outcome, country)
TTL bucket + INTERVAL 800 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.event_counts ON CLUSTER main AS countersign.event_counts_local
ENGINE = Distributed('main', 'countersign', 'event_counts_local', cityHash64(tenant, bucket, outcome, country));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.event_counts_fill ON CLUSTER main TO countersign.event_counts_local AS
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(time, 'UTC')) AS bucket,
    outcome,
    country,
    max(time) AS newest,
    uniqState(id) AS events
FROM countersign.events_local
GROUP BY tenant, bucket, outcome, country;

CREATE TABLE IF NOT EXISTS countersign.finding_counts_local ON CLUSTER main
(
    tenant      LowCardinality(String),
    bucket      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    detection   LowCardinality(String),
    severity    LowCardinality(String),
    disposition LowCardinality(String),
    findings    AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, bucket, detection, severity, disposition)
TTL bucket + INTERVAL 800 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.finding_counts ON CLUSTER main AS countersign.finding_counts_local
ENGINE = Distributed('main', 'countersign', 'finding_counts_local', cityHash64(tenant, bucket, detection, severity, disposition));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.finding_counts_fill ON CLUSTER main TO countersign.finding_counts_local AS
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(time, 'UTC')) AS bucket,
    detection,
    severity,
    disposition,
    uniqState(id) AS findings
FROM countersign.findings_local
GROUP BY tenant, bucket, detection, severity, disposition;

ALTER TABLE countersign.events_local ON CLUSTER main
    ADD COLUMN IF NOT EXISTS user_type LowCardinality(String) AFTER user_name,
    ADD COLUMN IF NOT EXISTS access LowCardinality(String) AFTER acr,
    ADD COLUMN IF NOT EXISTS risk LowCardinality(String) AFTER access,
    ADD COLUMN IF NOT EXISTS user_risk LowCardinality(String) AFTER risk,
    ADD COLUMN IF NOT EXISTS risk_state LowCardinality(String) AFTER user_risk,
    ADD COLUMN IF NOT EXISTS change_type LowCardinality(String) AFTER risk_state,
    ADD COLUMN IF NOT EXISTS change_action LowCardinality(String) AFTER change_type;

CREATE OR REPLACE TABLE countersign.events ON CLUSTER main AS countersign.events_local
ENGINE = Distributed('main', 'countersign', 'events_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.marks_local ON CLUSTER main
(
    tenant     LowCardinality(String),
    finding    FixedString(16) CODEC(NONE),
    time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id         FixedString(16) CODEC(NONE),
    logged     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    detection  LowCardinality(String),
    user_id    String CODEC(ZSTD(1)),
    found      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    verdict    LowCardinality(String),
    comment    String CODEC(ZSTD(1)),
    assignee   String CODEC(ZSTD(1)),
    set_by     String CODEC(ZSTD(1)),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
ORDER BY (tenant, finding, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.marks ON CLUSTER main AS countersign.marks_local
ENGINE = Distributed('main', 'countersign', 'marks_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.audit_local ON CLUSTER main
(
    tenant  LowCardinality(String),
    time    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id      FixedString(16) CODEC(NONE),
    logged  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    actor   String CODEC(ZSTD(1)),
    via     LowCardinality(String),
    action  LowCardinality(String),
    target  String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    detail  String CODEC(ZSTD(1)),
    outcome LowCardinality(String),
    address String CODEC(ZSTD(1)),
    request String CODEC(ZSTD(1)),
    INDEX by_actor actor TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.audit ON CLUSTER main AS countersign.audit_local
ENGINE = Distributed('main', 'countersign', 'audit_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.erasures_local ON CLUSTER main
(
    tenant  LowCardinality(String),
    user_id String CODEC(ZSTD(1)),
    before  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    logged  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', logged)
ORDER BY (tenant, user_id, before)
TTL toDateTime(logged) + INTERVAL 430 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.erasures ON CLUSTER main AS countersign.erasures_local
ENGINE = Distributed('main', 'countersign', 'erasures_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.by_session_local ON CLUSTER main
(
    tenant     LowCardinality(String),
    session_id String CODEC(ZSTD(1)),
    user_id    String CODEC(ZSTD(1)),
    first      SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    last       SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    logged     SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (tenant, session_id, user_id)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.by_session ON CLUSTER main AS countersign.by_session_local
ENGINE = Distributed('main', 'countersign', 'by_session_local', cityHash64(tenant, user_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_session_fill ON CLUSTER main TO countersign.by_session_local AS
SELECT
    tenant,
    session_id,
    user_id,
    min(time) AS first,
    max(time) AS last,
    max(toStartOfDay(e.logged, 'UTC')) AS logged
FROM countersign.events_local AS e
WHERE session_id != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, session_id, user_id;

CREATE TABLE IF NOT EXISTS countersign.by_user_local ON CLUSTER main
(
    tenant    LowCardinality(String),
    user_id   String CODEC(ZSTD(1)),
    user_name AggregateFunction(argMaxIf, String, DateTime64(3, 'UTC'), UInt8) CODEC(ZSTD(1)),
    user_type SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    first     SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last      SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    logged    SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
ORDER BY (tenant, user_id)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.by_user ON CLUSTER main AS countersign.by_user_local
ENGINE = Distributed('main', 'countersign', 'by_user_local', cityHash64(tenant, user_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_user_fill ON CLUSTER main TO countersign.by_user_local AS
SELECT
    tenant,
    user_id,
    argMaxIfState(e.user_name, time, e.user_name != '') AS user_name,
    max(e.user_type) AS user_type,
    min(time) AS first,
    max(time) AS last,
    max(toStartOfDay(e.logged, 'UTC')) AS logged
FROM countersign.events_local AS e
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, user_id;

CREATE TABLE IF NOT EXISTS countersign.by_prefix_local ON CLUSTER main
(
    tenant   LowCardinality(String),
    prefix   String CODEC(ZSTD(1)),
    day      Date CODEC(ZSTD(1)),
    user_id  String CODEC(ZSTD(1)),
    ip       IPv6 CODEC(ZSTD(1)),
    asn      SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)),
    org      SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    classes  SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    country  SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    apps     SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(1)),
    first    SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    last     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    logged   SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1)),
    events   AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1)),
    failures AggregateFunction(uniqIf, FixedString(16), UInt8) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(day)
ORDER BY (tenant, prefix, day, user_id, ip)
TTL toDateTime(logged) + INTERVAL 90 DAY
SETTINGS
    min_age_to_force_merge_seconds = 604800,
    min_age_to_force_merge_on_partition_only = 1,
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.by_prefix ON CLUSTER main AS countersign.by_prefix_local
ENGINE = Distributed('main', 'countersign', 'by_prefix_local', cityHash64(tenant, user_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_prefix_fill ON CLUSTER main TO countersign.by_prefix_local AS
SELECT
    tenant,
    prefix,
    toDate(time, 'UTC') AS day,
    user_id,
    ip,
    max(e.asn) AS asn,
    max(e.org) AS org,
    max(e.classes) AS classes,
    max(e.country) AS country,
    groupUniqArrayIf(app_id, app_id != '') AS apps,
    min(time) AS first,
    max(time) AS last,
    max(toStartOfDay(e.logged, 'UTC')) AS logged,
    uniqState(id) AS events,
    uniqIfState(id, outcome IN ('failure', 'blocked')) AS failures
FROM countersign.events_local AS e
WHERE prefix != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, prefix, day, user_id, ip;

CREATE TABLE IF NOT EXISTS countersign.by_app_local ON CLUSTER main
(
    tenant   LowCardinality(String),
    step     UInt32 CODEC(ZSTD(1)),
    bucket   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    app_id   String CODEC(ZSTD(1)),
    app_name SimpleAggregateFunction(max, LowCardinality(String)) CODEC(ZSTD(1)),
    last     SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events   AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    failures AggregateFunction(uniqCombinedIf(12), UInt32, UInt8) CODEC(ZSTD(1)),
    users    AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, step, bucket, app_id)
TTL bucket + INTERVAL 800 DAY, bucket + INTERVAL 40 DAY DELETE WHERE step = 3600
SETTINGS
    index_granularity = 256,
    min_age_to_force_merge_seconds = 604800,
    min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.by_app ON CLUSTER main AS countersign.by_app_local
ENGINE = Distributed('main', 'countersign', 'by_app_local', cityHash64(tenant, step, bucket, app_id));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_app_fill ON CLUSTER main TO countersign.by_app_local AS
SELECT
    tenant,
    arrayJoin([3600, 86400])::UInt32 AS step,
    toDateTime(intDiv(toUnixTimestamp(toDateTime(time, 'UTC')), step) * step, 'UTC') AS bucket,
    app_id,
    max(e.app_name) AS app_name,
    max(time) AS last,
    uniqCombinedState(12)(reinterpretAsUInt32(id)) AS events,
    uniqCombinedIfState(12)(reinterpretAsUInt32(id), outcome IN ('failure', 'blocked')) AS failures,
    uniqCombinedState(12)(toUInt32(cityHash64(tenant, user_id) % 4294967296)) AS users
FROM countersign.events_local AS e
WHERE app_id != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, step, bucket, app_id;

CREATE TABLE IF NOT EXISTS countersign.by_place_local ON CLUSTER main
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
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, step, bucket, country, region, city)
TTL bucket + INTERVAL 800 DAY, bucket + INTERVAL 40 DAY DELETE WHERE step = 3600
SETTINGS
    index_granularity = 256,
    min_age_to_force_merge_seconds = 604800,
    min_age_to_force_merge_on_partition_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.by_place ON CLUSTER main AS countersign.by_place_local
ENGINE = Distributed('main', 'countersign', 'by_place_local', cityHash64(tenant, step, bucket, country, region, city));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_place_fill ON CLUSTER main TO countersign.by_place_local AS
SELECT
    tenant,
    arrayJoin([3600, 86400])::UInt32 AS step,
    toDateTime(intDiv(toUnixTimestamp(toDateTime(time, 'UTC')), step) * step, 'UTC') AS bucket,
    country,
    region,
    city,
    any(e.lat) AS lat,
    any(e.lon) AS lon,
    any(e.radius_km) AS radius_km,
    uniqCombinedState(12)(reinterpretAsUInt32(id)) AS events,
    uniqCombinedState(12)(toUInt32(cityHash64(tenant, user_id) % 4294967296)) AS users
FROM countersign.events_local AS e
WHERE (country != '' OR e.lat != 0 OR e.lon != 0) AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, step, bucket, country, region, city;

CREATE TABLE IF NOT EXISTS countersign.event_days_local ON CLUSTER main
(
    tenant  LowCardinality(String),
    day     Date CODEC(ZSTD(1)),
    outcome LowCardinality(String),
    newest  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events  AggregateFunction(uniqCombined(14), FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYear(day)
ORDER BY (tenant, day, outcome)
TTL day + INTERVAL 800 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.event_days ON CLUSTER main AS countersign.event_days_local
ENGINE = Distributed('main', 'countersign', 'event_days_local', cityHash64(tenant, day, outcome));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.event_days_fill ON CLUSTER main TO countersign.event_days_local AS
SELECT
    tenant,
    toDate(time, 'UTC') AS day,
    outcome,
    max(time) AS newest,
    uniqCombinedState(14)(id) AS events
FROM countersign.events_local
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, day, outcome;

ALTER TABLE countersign.findings_local ON CLUSTER main
    ADD COLUMN IF NOT EXISTS app_id String DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'app', 'id') CODEC(ZSTD(1)) AFTER ip,
    ADD COLUMN IF NOT EXISTS prefix String DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'network', 'prefix') CODEC(ZSTD(1)) AFTER app_id,
    ADD COLUMN IF NOT EXISTS lat Float64 DEFAULT JSONExtractFloat(raw, 'evidence', 'sight', 'place', 'lat') CODEC(ZSTD(1)) AFTER prefix,
    ADD COLUMN IF NOT EXISTS lon Float64 DEFAULT JSONExtractFloat(raw, 'evidence', 'sight', 'place', 'lon') CODEC(ZSTD(1)) AFTER lat,
    ADD COLUMN IF NOT EXISTS city LowCardinality(String) DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'place', 'city') AFTER lon,
    ADD COLUMN IF NOT EXISTS region LowCardinality(String) DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'place', 'region') AFTER city;

CREATE OR REPLACE TABLE countersign.findings ON CLUSTER main AS countersign.findings_local
ENGINE = Distributed('main', 'countersign', 'findings_local', cityHash64(tenant, user_id));

ALTER TABLE countersign.dead_letters_local ON CLUSTER main
    ADD COLUMN IF NOT EXISTS format LowCardinality(String) AFTER line;

CREATE OR REPLACE TABLE countersign.dead_letters ON CLUSTER main AS countersign.dead_letters_local
ENGINE = Distributed('main', 'countersign', 'dead_letters_local', cityHash64(time, id));

ALTER TABLE countersign.events_local ON CLUSTER main
    MODIFY COLUMN kind CODEC(ZSTD(1)),
    MODIFY COLUMN source CODEC(ZSTD(1)),
    MODIFY COLUMN family CODEC(ZSTD(1)),
    MODIFY COLUMN category CODEC(ZSTD(1)),
    MODIFY COLUMN outcome CODEC(ZSTD(1)),
    MODIFY COLUMN code CODEC(ZSTD(1)),
    MODIFY COLUMN app_name CODEC(ZSTD(1)),
    MODIFY COLUMN resource_name CODEC(ZSTD(1)),
    MODIFY COLUMN org CODEC(ZSTD(1)),
    MODIFY COLUMN classes CODEC(ZSTD(1)),
    MODIFY COLUMN city CODEC(ZSTD(1)),
    MODIFY COLUMN region CODEC(ZSTD(1)),
    MODIFY COLUMN country CODEC(ZSTD(1)),
    MODIFY COLUMN provider_country CODEC(ZSTD(1)),
    MODIFY COLUMN os CODEC(ZSTD(1)),
    MODIFY COLUMN browser CODEC(ZSTD(1)),
    MODIFY COLUMN device_type CODEC(ZSTD(1)),
    MODIFY COLUMN mfa CODEC(ZSTD(1)),
    MODIFY COLUMN strength CODEC(ZSTD(1)),
    MODIFY COLUMN methods CODEC(ZSTD(1)),
    MODIFY COLUMN acr CODEC(ZSTD(1)),
    MODIFY COLUMN user_type CODEC(ZSTD(1)),
    MODIFY COLUMN access CODEC(ZSTD(1)),
    MODIFY COLUMN risk CODEC(ZSTD(1)),
    MODIFY COLUMN user_risk CODEC(ZSTD(1)),
    MODIFY COLUMN risk_state CODEC(ZSTD(1)),
    MODIFY COLUMN change_type CODEC(ZSTD(1)),
    MODIFY COLUMN change_action CODEC(ZSTD(1));

CREATE OR REPLACE TABLE countersign.events ON CLUSTER main AS countersign.events_local
ENGINE = Distributed('main', 'countersign', 'events_local', cityHash64(tenant, user_id));

ALTER TABLE countersign.events_local ON CLUSTER main
    MODIFY COLUMN user_name LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN app_id LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN resource_id LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN prefix LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN device_id LowCardinality(String) CODEC(ZSTD(1));

CREATE OR REPLACE TABLE countersign.events ON CLUSTER main AS countersign.events_local
ENGINE = Distributed('main', 'countersign', 'events_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.alerts_local ON CLUSTER main
(
    tenant   LowCardinality(String),
    id       FixedString(16) CODEC(NONE),
    version  UInt64 CODEC(ZSTD(1)),
    logged   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kind     LowCardinality(String),
    severity LowCardinality(String),
    user_id  String CODEC(ZSTD(1)),
    since    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    opened   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    closed   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    raw      String CODEC(ZSTD(1))
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', version)
ORDER BY (tenant, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.alerts ON CLUSTER main AS countersign.alerts_local
ENGINE = Distributed('main', 'countersign', 'alerts_local', cityHash64(tenant, user_id));

CREATE TABLE IF NOT EXISTS countersign.source_counts_local ON CLUSTER main
(
    tenant   LowCardinality(String),
    bucket   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    source   LowCardinality(String),
    family   LowCardinality(String),
    delay    UInt8,
    newest   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    accepted SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    events   AggregateFunction(uniq, FixedString(16)) CODEC(ZSTD(1))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, bucket, source, family, delay)
TTL bucket + INTERVAL 30 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.source_counts ON CLUSTER main AS countersign.source_counts_local
ENGINE = Distributed('main', 'countersign', 'source_counts_local', cityHash64(tenant, bucket, source, family, delay));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.source_counts_fill ON CLUSTER main TO countersign.source_counts_local AS
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(ingested, 'UTC')) AS bucket,
    source,
    family,
    toUInt8(least(255, round(4 * log2(greatest(1, toUnixTimestamp64Milli(ingested) - toUnixTimestamp64Milli(time)))))) AS delay,
    max(time) AS newest,
    max(ingested) AS accepted,
    uniqState(id) AS events
FROM countersign.events_local
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, bucket, source, family, delay;

CREATE OR REPLACE VIEW countersign.v_findings ON CLUSTER main AS
SELECT
    f.tenant AS tenant,
    f.time AS time,
    lower(hex(f.id)) AS finding,
    f.detection AS detection,
    f.severity AS severity,
    f.disposition AS disposition,
    f.technique AS technique,
    f.user_id AS user_id,
    f.user_name AS user_name,
    f.session_id AS session,
    f.app_id AS app,
    if(f.ip = toIPv6('::'), '', replaceRegexpOne(toString(f.ip), '^::ffff:([0-9.]+)$', '\\1')) AS ip,
    f.prefix AS network,
    f.country AS country,
    f.region AS region,
    f.city AS city,
    f.lat AS latitude,
    f.lon AS longitude,
    f.policy AS policy,
    f.action AS action,
    f.observed = 1 AS observed_only,
    f.requirement AS requirement,
    lower(hex(f.event_id)) AS event,
    if(m.verdict = '', 'open', m.verdict) AS triage,
    m.assignee AS assignee,
    m.set_by AS triaged_by
FROM (SELECT * FROM countersign.findings FINAL) AS f
LEFT JOIN (
    SELECT tenant, finding, argMax(verdict, (time, id)) AS verdict, argMax(assignee, (time, id)) AS assignee, argMax(set_by, (time, id)) AS set_by
    FROM countersign.marks
    GROUP BY tenant, finding
) AS m ON f.tenant = m.tenant AND f.id = m.finding;

CREATE OR REPLACE VIEW countersign.v_signins ON CLUSTER main AS
SELECT
    tenant,
    time,
    lower(hex(id)) AS event,
    user_id,
    user_name,
    user_type,
    outcome,
    code,
    interactive = 1 AS interactive,
    app_id AS app,
    app_name,
    session_id AS session,
    if(e.ip = toIPv6('::'), '', replaceRegexpOne(toString(e.ip), '^::ffff:([0-9.]+)$', '\\1')) AS ip,
    prefix AS network,
    asn,
    org AS network_owner,
    if(classes = '', [], splitByChar(',', toString(classes))) AS network_classes,
    country,
    region,
    city,
    lat AS latitude,
    lon AS longitude,
    device_id AS device,
    os,
    browser,
    device_type,
    managed = 1 AS managed,
    compliant = 1 AS compliant,
    mfa,
    strength,
    methods,
    access AS conditional_access,
    risk,
    source
FROM (SELECT * FROM countersign.events FINAL) AS e
WHERE kind = 'sign_in';

CREATE OR REPLACE VIEW countersign.v_revocations ON CLUSTER main AS
SELECT
    tenant,
    requirement,
    not_before AS opened,
    if(r.status = 'open' AND expires < now64(3), 'expired', r.status) AS status,
    expires,
    multiIf(r.status != 'open', r.closed, expires < now64(3), expires, NULL) AS closed,
    if(r.status = 'satisfied', dateDiff('second', not_before, r.closed), NULL) AS seconds_to_satisfy,
    user_id,
    session_id AS session,
    scope,
    action,
    severity,
    acr_values,
    policy,
    policy_version,
    reason,
    event_id AS event,
    satisfied_by
FROM (SELECT * FROM countersign.revocations FINAL) AS r;

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_app_weeks ON CLUSTER main TO countersign.by_app_local AS
SELECT
    tenant,
    604800::UInt32 AS step,
    toDateTime(intDiv(toUnixTimestamp(toDateTime(time, 'UTC')), step) * step, 'UTC') AS bucket,
    app_id,
    max(e.app_name) AS app_name,
    max(time) AS last,
    uniqCombinedState(12)(reinterpretAsUInt32(id)) AS events,
    uniqCombinedIfState(12)(reinterpretAsUInt32(id), outcome IN ('failure', 'blocked')) AS failures,
    uniqCombinedState(12)(toUInt32(cityHash64(tenant, user_id) % 4294967296)) AS users
FROM countersign.events_local AS e
WHERE app_id != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, step, bucket, app_id;

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.by_place_weeks ON CLUSTER main TO countersign.by_place_local AS
SELECT
    tenant,
    604800::UInt32 AS step,
    toDateTime(intDiv(toUnixTimestamp(toDateTime(time, 'UTC')), step) * step, 'UTC') AS bucket,
    country,
    region,
    city,
    any(e.lat) AS lat,
    any(e.lon) AS lon,
    any(e.radius_km) AS radius_km,
    uniqCombinedState(12)(reinterpretAsUInt32(id)) AS events,
    uniqCombinedState(12)(toUInt32(cityHash64(tenant, user_id) % 4294967296)) AS users
FROM countersign.events_local AS e
WHERE (country != '' OR e.lat != 0 OR e.lon != 0) AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, step, bucket, country, region, city;

CREATE TABLE IF NOT EXISTS countersign.finding_times_local ON CLUSTER main
(
    tenant   LowCardinality(String),
    time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id FixedString(16) CODEC(NONE),
    id       FixedString(16) CODEC(NONE),
    decided  SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    took     SimpleAggregateFunction(min, Nullable(Int64)) CODEC(ZSTD(1)),
    INDEX by_event event_id TYPE bloom_filter(0.001) GRANULARITY 4
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, time, event_id, id)
TTL toDateTime(decided) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS countersign.finding_times ON CLUSTER main AS countersign.finding_times_local
ENGINE = Distributed('main', 'countersign', 'finding_times_local', cityHash64(tenant, time, event_id, id));

CREATE MATERIALIZED VIEW IF NOT EXISTS countersign.finding_times_fill ON CLUSTER main TO countersign.finding_times_local AS
SELECT
    tenant,
    time,
    event_id,
    id,
    min(logged) AS decided,
    min(if(ingested > toDateTime64(0, 3, 'UTC'), greatest(0, toUnixTimestamp64Milli(logged) - toUnixTimestamp64Milli(ingested)), NULL)) AS took
FROM countersign.findings_local
GROUP BY tenant, time, event_id, id;

ALTER TABLE countersign.event_counts_fill ON CLUSTER main MODIFY QUERY
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(time, 'UTC')) AS bucket,
    outcome,
    country,
    max(time) AS newest,
    uniqState(id) AS events
FROM countersign.events_local
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, bucket, outcome, country;

ALTER TABLE countersign.events_local ON CLUSTER main
    MODIFY SETTING min_age_to_force_merge_seconds = 604800, min_age_to_force_merge_on_partition_only = 1;

ALTER TABLE countersign.event_counts_local ON CLUSTER main
    MODIFY SETTING min_age_to_force_merge_seconds = 604800, min_age_to_force_merge_on_partition_only = 1;
