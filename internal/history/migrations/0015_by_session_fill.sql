-- Fills by_session from every insert into events.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.by_session_fill TO ${database}.by_session AS
SELECT
    tenant,
    session_id,
    user_id,
    min(time) AS first,
    max(time) AS last,
    max(toStartOfDay(e.logged, 'UTC')) AS logged
FROM ${database}.events AS e
WHERE session_id != '' AND kind NOT IN ('verdict', 'context', 'erasure')
GROUP BY tenant, session_id, user_id
