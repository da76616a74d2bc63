"""Views: the carrier in use, as the REST API reckons it; whether a value is a number, a boolean, text or an object; its scale."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = "to_timestamp({} / 1000000.0)"
_KIND = "(ARRAY['number', 'number', 'boolean', 'text', 'object'])[{} + 1]"
_SCALES = {
    "%": "percent", "%EL": "percent", "%RH": "humidity", "/": "percentunit", "B": "bytes", "B/s": "Bps", "bit": "bits",
    "bit/s": "bps", "s": "s", "ms": "ms", "Cel": "celsius", "K": "kelvin", "V": "volt", "mV": "mvolt", "A": "amp", "mA": "mamp",
    "W": "watt", "kW": "kwatt", "J": "joule", "Wh": "watth", "kWh": "kwatth", "Hz": "hertz", "Pa": "pressurepa",
    "hPa": "pressurehpa", "dB": "dB", "dBm": "dBm", "m": "lengthm", "kg": "masskg", "g": "massg", "m/s": "velocityms",
    "km/h": "velocitykmh", "lx": "lux", "deg": "degree", "l": "litre", "m3": "m3", "Ohm": "ohm", "VA": "voltamp",
}  # fmt: skip
"""The rows of simway_flask_app.grafana.scales when this revision was made."""
_SCALE = "CASE {} " + " ".join(f"WHEN '{unit}' THEN '{scale}'" for unit, scale in _SCALES.items()) + " ELSE 'value' END"
VIEWS = {
    "readings_view": f"""
        SELECT {_TIME.format("r.t_us")} AS "time", r.t_us, s.device, s.sensor, r.num AS value, r.detail AS text, r.unit,
            {_KIND.format("r.kind")} AS kind, {_SCALE.format("r.unit")} AS scale
        FROM readings r JOIN series s USING (series_id)""",
    "latest_view": f"""
        SELECT {_TIME.format("l.t_us")} AS "time", l.t_us, s.device, s.sensor, l.num AS value, l.detail AS text, l.unit,
            {_KIND.format("l.kind")} AS kind, {_SCALE.format("l.unit")} AS scale
        FROM latest l JOIN series s USING (series_id)""",
    "devices_view": f"""
        SELECT d.device, d.name, d.status, d.attached_iccid, {_TIME.format("d.attached_us")} AS attached,
            {_TIME.format("d.detached_us")} AS detached, d.eid, d.active_iccid,
            (SELECT profile ->> 'provider' FROM json_array_elements(CAST(d.profiles AS json)) profile
                WHERE profile ->> 'iccid' = d.active_iccid LIMIT 1) AS active_provider
        FROM (
            SELECT d.device, d.name, d.status, s.iccid AS attached_iccid, s.attached_us, s.detached_us, i.eid, i.profiles,
                CASE WHEN s.iccid <> '' AND (i.t_us IS NULL OR s.attached_us >= i.t_us) THEN s.iccid
                    ELSE i.active_iccid END AS active_iccid
            FROM devices d LEFT JOIN sessions s USING (device) LEFT JOIN inventories i USING (device)) d""",
}


def upgrade() -> None:
    """Forward. Columns are appended, so that what reads the views of 0001 goes on."""
    if op.get_bind().dialect.name == "postgresql":
        for name, query in VIEWS.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
