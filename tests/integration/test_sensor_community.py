"""What a Sensor.Community station sends to `POST /api/readings`."""

from typing import Any

from tests.integration.conftest import Running
from tests.integration.test_readings import NDJSON, counts, post

VALUES = [
    {"value_type": "SDS_P1", "value": "12.30"},
    {"value_type": "SDS_P2", "value": "5.60"},
    {"value_type": "BME280_temperature", "value": "21.50"},
    {"value_type": "BME280_humidity", "value": "48.25"},
    {"value_type": "BME280_pressure", "value": "101325.00"},
    {"value_type": "samples", "value": "5012345"},
]
MESSAGE = {"esp8266id": "12345", "software_version": "NRZ-2020-133", "sensordatavalues": VALUES}


def of(*values: tuple[str, object]) -> dict[str, Any]:
    return {"sensordatavalues": [{"value_type": name, "value": value} for name, value in values]}


async def test_a_station_is_a_sensor(app: Running) -> None:
    status, told = await post(app, MESSAGE, **{"X-Sensor": "esp8266-12345", "X-MAC-ID": "esp-f00d"})
    assert (status, told["status"], told["sensor_id"]) == (201, "stored", "esp8266-12345")
    measured = {name: told[name] for name in told if name.startswith("SDS") or name == "samples"}
    assert measured == {"SDS_P1": 12.3, "SDS_P2": 5.6, "samples": 5012345.0}
    assert (told["temperature"], told["humidity"], told["pressure"]) == (21.5, 48.25, 1013.25)
    assert not [name for name in told if name.startswith("BME280") or name == "esp8266id"]
    registry = app.application.metrics.registry
    assert registry.get_sample_value("sensorflow_ignored_fields_total") == 1  # software_version


async def test_who_it_is(app: Running) -> None:
    sent: list[tuple[object, str, dict[str, str], str]] = [
        (MESSAGE, "?sensor_id=own", {"X-Sensor": "raspi-1"}, "raspi-1"),
        (MESSAGE, "?sensor_id=own", {"X-MAC-ID": "esp-f00d"}, "esp8266-12345"),
        ({**MESSAGE, "esp8266id": 12345}, "", {}, "esp8266-12345"),
        (of(("P1", "1")), "?sensor_id=own", {"X-MAC-ID": "esp-f00d"}, "esp-f00d"),
        (of(("P1", "1")), "?sensor_id=own", {"X-Sensor": ""}, "own"),
    ]
    for message, query, headers, sensor in sent:
        status, told = await post(app, message, query, **headers)
        assert (status, told["sensor_id"]) == (201, sensor)


async def test_the_known_measurements(app: Running) -> None:
    names = ("temperature", "humidity", "pressure", "BME280_temperature")
    sent: list[tuple[list[tuple[str, object]], list[float | None]]] = [
        ([("temperature", "1"), ("BME280_temperature", "2")], [1, None, None, 2]),
        ([("BME280_temperature", "2"), ("temperature", "1")], [1, None, None, 2]),
        ([("BMP_temperature", "3"), ("BME280_temperature", "2")], [3, None, None, 2]),
        ([("pressure", "99999")], [None, None, 999.99, None]),
        ([("BMP_pressure", 100000), ("HTU21D_humidity", "40")], [None, 40, 1000, None]),
    ]
    for values, measured in sent:
        status, told = await post(app, of(*values), "?sensor_id=s")
        assert status == 201
        assert [told.get(name) for name in names] == measured


async def test_a_further_pressure_keeps_its_unit_and_its_name(app: Running) -> None:
    both = of(("pressure", "100000"), ("BMP_pressure", "100001"))
    told = (await post(app, both, "?sensor_id=s"))[1]
    assert (told["pressure"], told["BMP_pressure"]) == (1000, 100001)


async def test_what_is_refused(app: Running) -> None:
    for message, reason in (
        (of(("P1", "1")), "missing_field"),
        ({"esp8266id": "1", "sensordatavalues": []}, "missing_field"),
        ({"esp8266id": "1", "sensordatavalues": {}}, "wrong_shape"),
        ({"esp8266id": "1", "sensordatavalues": [1]}, "wrong_shape"),
        ({"esp8266id": "1", "sensordatavalues": [{"value": "1"}]}, "wrong_shape"),
        ({"esp8266id": "1", **of(("temperature", "hot"))}, "not_a_number"),
        ({"esp8266id": "1", **of(("BME280_pressure", "nan"))}, "not_a_number"),
        ({"esp8266id": "\n", **of(("P1", "1"))}, "bad_sensor_id"),
        ({"esp8266id": "1", **of(("P 1", "1"))}, "bad_measurement_name"),
        ({"esp8266id": "1", **of(*((f"v{n}", n) for n in range(65)))}, "too_many_measurements"),
    ):
        status, told = await post(app, message)
        assert (status, told["reason"]) == (422, reason), message


async def test_a_message_may_be_one_of_many(app: Running) -> None:
    status, told = await post(app, [MESSAGE, {"sensor_id": "a", "x": 1}, of(("P1", "1"))])
    assert (status, counts(told)) == (201, (2, 0, 0, 0, 1))
    status, told = await post(app, b'{"sensordatavalues":1}', "?sensor_id=s", **NDJSON)
    assert (status, told["readings"][0]["reason"]) == (422, "wrong_shape")
