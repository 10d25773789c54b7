"""The configuration: ``config.toml``, the environment and the command line as frozen values.

Promises: ``load`` either returns values that are all within their ranges, each with its origin, or raises
``Misconfigured``. Importing this package takes half a second, so the command line imports it late.
"""

from __future__ import annotations

from settlement_engine.config.banks import (
    AchBank,
    BanksConfig,
    InstitutionConfig,
    RailBank,
    RealtimeBank,
    SepaBank,
    SwiftBank,
)
from settlement_engine.config.loading import (
    Loaded,
    UnknownVariable,
    env_name,
    flatten,
    known_keys,
    load,
    masked,
    to_environment,
    unknown_variables,
)
from settlement_engine.config.safety import unsafe_settings
from settlement_engine.config.secrets import carries_secret, read_secret
from settlement_engine.config.sections import (
    PROFILE_DEFAULTS,
    Config,
    DatabaseConfig,
    EngineConfig,
    MonitoringConfig,
    NatsConfig,
    ReconciliationConfig,
    ScreeningConfig,
    ServerConfig,
    SettlementConfig,
)

__all__ = [
    "PROFILE_DEFAULTS",
    "AchBank",
    "BanksConfig",
    "Config",
    "DatabaseConfig",
    "EngineConfig",
    "InstitutionConfig",
    "Loaded",
    "MonitoringConfig",
    "NatsConfig",
    "RailBank",
    "RealtimeBank",
    "ReconciliationConfig",
    "ScreeningConfig",
    "SepaBank",
    "ServerConfig",
    "SettlementConfig",
    "SwiftBank",
    "UnknownVariable",
    "carries_secret",
    "env_name",
    "flatten",
    "known_keys",
    "load",
    "masked",
    "read_secret",
    "to_environment",
    "unknown_variables",
    "unsafe_settings",
]
