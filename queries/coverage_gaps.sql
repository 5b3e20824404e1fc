-- Which models lack a platform and precision that other models were measured on? One row for each model, mode, platform
-- and precision without an ok run; `attempts` ended otherwise. What most other models have comes first. Profiles do not
-- count.
WITH seen AS MATERIALIZED (
    SELECT configuration.model_id, configuration.mode, configuration.platform, configuration.precision,
        sum(series_summary.run_count) AS runs, sum(series_summary.ok_count) AS ok,
        sum(series_summary.unsupported_count) AS unsupported
    FROM series_summary JOIN configuration ON configuration.id = series_summary.configuration_id
    WHERE series_summary.run_count > 0 AND configuration.parameters ->> '$.profile' IS NULL
    GROUP BY configuration.model_id, configuration.mode, configuration.platform, configuration.precision
), combination AS MATERIALIZED (
    SELECT mode, platform, precision, count(*) AS models FROM seen WHERE ok > 0 GROUP BY mode, platform, precision
), subject AS MATERIALIZED (
    SELECT DISTINCT model_id, mode FROM seen
)
SELECT model.name AS model, combination.mode, combination.platform, combination.precision,
    combination.models AS models_measured,
    ifnull(seen.runs, 0) AS attempts,
    ifnull(seen.unsupported, 0) AS unsupported
FROM subject
    JOIN combination ON combination.mode = subject.mode
    JOIN model ON model.id = subject.model_id
    LEFT JOIN seen ON seen.model_id = subject.model_id AND seen.mode = combination.mode
        AND seen.platform = combination.platform AND seen.precision = combination.precision
WHERE ifnull(seen.ok, 0) = 0
ORDER BY combination.models DESC, model.name, combination.mode, combination.platform, combination.precision
