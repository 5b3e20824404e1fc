-- The newest run of a selection, and what it belongs to. `selection.sql` follows.
SELECT run.id, campaign.uuid AS campaign, run.import_batch_id AS import
FROM run
    CROSS JOIN configuration ON configuration.id = run.configuration_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
