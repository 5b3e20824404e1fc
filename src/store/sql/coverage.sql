-- How often was each model measured on each platform? Counts are taken per configuration first: that needs the
-- index alone, and there are far fewer configurations than runs.
WITH counted AS (
    SELECT configuration_id, count(*) AS runs FROM run GROUP BY configuration_id
), broken AS (
    SELECT configuration_id, count(*) AS runs FROM run WHERE status <> 'ok' GROUP BY configuration_id
)
SELECT model.name, configuration.platform, sum(counted.runs), sum(counted.runs - ifnull(broken.runs, 0))
FROM counted
    JOIN configuration ON configuration.id = counted.configuration_id
    JOIN model ON model.id = configuration.model_id
    LEFT JOIN broken ON broken.configuration_id = configuration.id
GROUP BY model.name, configuration.platform
ORDER BY model.name, configuration.platform
