#!/bin/sh
# Run once by the image, over the socket, before Postgres listens: a role and a database for Dagster's runs, and for
# the system of record that the simulator plays.
set -eu
for name in dagster backend; do
    psql --set=ON_ERROR_STOP=1 --set=name="$name" --set=password="$(cat "/run/secrets/postgres_$name")" <<'SQL'
create role :"name" login password :'password';
create database :"name" owner :"name";
revoke all on database :"name" from public;
SQL
done
