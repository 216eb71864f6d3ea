"""The table of user actions."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        create table user_actions (
            event_id uuid primary key,
            user_id bigint not null,
            action_type text not null,
            occurred_at timestamptz not null,
            created_at timestamptz not null,
            session_id text not null,
            source text not null,
            context jsonb not null
        )
        """
    )
    # Reconciliation counts by the hour in which the backend wrote, a user at a time.
    op.execute("create index user_actions_user_created on user_actions (user_id, created_at)")


def downgrade() -> None:
    op.execute("drop table user_actions")
