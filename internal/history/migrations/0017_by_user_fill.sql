-- Fills by_user from every insert into events.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.by_user_fill TO ${database}.by_user AS
SELECT
    tenant,
    user_id,
    argMaxIfState(e.user_name, time, e.user_name != '') AS user_name,
    max(e.user_type) AS user_type,
    min(time) AS first,
    max(time) AS last,
    max(toStartOfDay(e.logged, 'UTC')) AS logged
FROM ${database}.events AS e
WHERE kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, user_id
