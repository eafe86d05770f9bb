"""The usual way: a FastAPI route that adds one row, commits it, and reads it back.

`one_commit.py PORT URL` keeps its rows in a table of its own in the PostgreSQL database at URL.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import BigInteger, DateTime, Identity
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The peer's only table."""


class Row(Base):
    """One reading."""

    __tablename__ = "one_commit_readings"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    sensor_id: Mapped[str]
    temperature: Mapped[float]
    humidity: Mapped[float]
    pressure: Mapped[float]
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Body(BaseModel):
    """What a device sends."""

    temperature: float
    humidity: float
    pressure: float
    sensor_id: str


def create_app(url: str) -> FastAPI:
    """The app; its pool is SQLAlchemy's default."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    sessions = async_sessionmaker(engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/temperature_reading", status_code=201)
    async def add(body: Body) -> dict[str, object]:
        async with sessions() as session:
            row = Row(**body.model_dump(), recorded_at=datetime.now(UTC))
            session.add(row)
            await session.commit()
            await session.refresh(row)
            return {"id": row.id, **body.model_dump(), "recorded_at": row.recorded_at}

    return app


def main(port: int, url: str) -> None:
    """Serve on loopback, on the same event loop and parser as `sensorflow serve`."""
    uvicorn.run(
        create_app(url),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        backlog=4096,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
