-- All runs of the configurations, one configuration after the other. `selection.sql` follows.
FROM configuration
    -- The series come one after the other, each from one piece of the index on configuration and time.
    CROSS JOIN run ON run.configuration_id = configuration.id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
    JOIN environment ON environment.id = run.environment_id
    LEFT JOIN campaign ON campaign.id = run.campaign_id
    LEFT JOIN metrics ON metrics.run_id = run.id
