-- Weeks besides hours and days, step 604800: a question about a year reads few sets, and those are bounded. Weeks begin on
-- Thursdays, as the epoch does.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.by_place_weeks TO ${database}.by_place AS
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
FROM ${database}.events AS e
WHERE (country != '' OR e.lat != 0 OR e.lon != 0) AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, step, bucket, country, region, city
