import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.io.StringWriter;
import java.net.URI;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Timer;
import java.util.TimerTask;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/** JDBC in one of its query modes (MODE); statements are on the server from their first use on. */
public class Scenario {
    interface Step {
        void run(Phase phase) throws Exception;
    }

    static class Phase {
        String column;
        List<String> star;
        boolean wide;
        String tag;
        int id;
    }

    static final String MODE = System.getenv("MODE");
    static final String LARGE = "x".repeat(2 << 20);
    static final Map<String, PreparedStatement> STATEMENTS = new HashMap<>();
    static Connection db;

    static Connection connect() throws SQLException {
        URI url = URI.create(System.getenv("DATABASE_URL"));
        // A threshold of 1: prepared by name at first use; results are binary from the next on.
        return DriverManager.getConnection("jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath()
            + "?user=" + url.getUserInfo() + "&sslmode=disable&prepareThreshold=1&preferQueryMode=" + MODE);
    }

    static void check(Object actual, Object expected) {
        if (Objects.equals(String.valueOf(actual), String.valueOf(expected))) return;
        throw new AssertionError(cut(actual) + " is not " + cut(expected));
    }

    static String cut(Object value) {
        String text = String.valueOf(value);
        return text.substring(0, Math.min(200, text.length()));
    }

    static PreparedStatement statement(String sql, Object... values) throws SQLException {
        PreparedStatement made = STATEMENTS.get(sql);
        if (made == null) STATEMENTS.put(sql, made = db.prepareStatement(sql));
        for (int i = 0; i < values.length; i++) made.setObject(i + 1, values[i]);
        return made;
    }

    static ResultSet query(String sql, Object... values) throws SQLException {
        ResultSet rows = statement(sql, values).executeQuery();
        rows.next();
        return rows;
    }

    static List<String> names(ResultSet rows) throws SQLException {
        ResultSetMetaData meta = rows.getMetaData();
        List<String> all = new ArrayList<>();
        for (int i = 1; i <= meta.getColumnCount(); i++) all.add(meta.getColumnName(i));
        return all;
    }

    static long amount(Phase p) throws SQLException {
        // Twice: the second time its results are binary.
        query("SELECT amount FROM orders WHERE id = ?", p.id);
        return query("SELECT amount FROM orders WHERE id = ?", p.id).getLong(1);
    }

    static void prepared(Phase p) throws SQLException {
        ResultSet row = query("INSERT INTO orders (amount, " + p.column + ") VALUES (?, ?) RETURNING *", 41, p.tag);
        check(row.getMetaData().getColumnCount(), p.star.size());
        p.id = row.getInt(1);
        check(row.getLong(2), 41);
        check(statement("UPDATE orders SET amount = amount + ? WHERE id = ?", 1, p.id).executeUpdate(), 1);
        check(amount(p), 42);
        row = query("SELECT * FROM orders WHERE id = ?", p.id);
        check(Arrays.asList(row.getLong(2), row.getString(3), row.getString(4)), Arrays.asList(42, p.tag, null));
        // One that it has not described before knows the present names.
        row = query("SELECT * FROM orders WHERE id = ? /* " + p.tag + " */", p.id);
        check(names(row), p.star);
    }

    static void nulls(Phase p) throws SQLException {
        String sql = "INSERT INTO orders (amount, " + p.column + ") VALUES (?, ?) RETURNING amount";
        PreparedStatement insert = statement(sql);
        insert.setNull(1, Types.INTEGER);
        insert.setString(2, p.tag);
        ResultSet row = insert.executeQuery();
        row.next();
        check(row.getObject(1), null);
    }

    static void upsert(Phase p) throws SQLException {
        ResultSet row = query("INSERT INTO orders (id, amount, " + p.column + ") VALUES (?, ?, ?) "
            + "ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount", p.id, 5, p.tag);
        check(row.getLong(1), 6);
    }

    static void generatedKeys(Phase p) throws SQLException {
        String sql = "INSERT INTO orders (amount, " + p.column + ") VALUES (?, ?)";
        try (PreparedStatement insert = db.prepareStatement(sql, PreparedStatement.RETURN_GENERATED_KEYS)) {
            insert.setInt(1, 9);
            insert.setString(2, p.tag);
            insert.executeUpdate();
            ResultSet keys = insert.getGeneratedKeys();
            keys.next();
            check(keys.getLong("amount"), 9);
        }
    }

    static void savepoint(Phase p) throws SQLException {
        db.setAutoCommit(false);
        try {
            statement("UPDATE orders SET amount = 100 WHERE id = ?", p.id).executeUpdate();
            var savepoint = db.setSavepoint();
            try {
                PreparedStatement insert = statement("INSERT INTO orders (amount, " + p.column + ") VALUES (?, ?)", 1);
                insert.setNull(2, Types.VARCHAR);
                insert.executeUpdate();
                throw new AssertionError("no error");
            } catch (SQLException error) {
                check(error.getSQLState(), "23502");
            }
            db.rollback(savepoint);
            check(amount(p), 100);
            db.rollback();
        } finally {
            db.setAutoCommit(true);
        }
        check(amount(p), 6);
    }

    static void batch(Phase p) throws SQLException {
        String tag = p.tag + " b";
        PreparedStatement insert = statement("INSERT INTO orders (amount, " + p.column + ") VALUES (?, ?)");
        for (int n = 0; n < 100; n++) {
            insert.setInt(1, n);
            insert.setString(2, tag);
            insert.addBatch();
        }
        check(insert.executeBatch().length, 100);
        check(query("SELECT sum(amount) FROM orders WHERE " + p.column + " = ?", tag).getLong(1), 4950);
        insert.setInt(1, 1);
        insert.setNull(2, Types.VARCHAR);
        insert.addBatch();
        try {
            insert.executeBatch();
            throw new AssertionError("no error");
        } catch (BatchUpdateException error) {
            check(error.getSQLState(), "23502");
        }
    }

    static void copy(Phase p) throws Exception {
        String tag = p.tag + " c";
        var copies = db.unwrap(PGConnection.class).getCopyAPI();
        String rows = "1\t" + tag + "\n2\t" + tag + "\n\\N\t" + tag + "\n";
        check(copies.copyIn("COPY orders (amount, " + p.column + ") FROM STDIN", new StringReader(rows)), 3);
        StringWriter out = new StringWriter();
        copies.copyOut("COPY (SELECT amount FROM orders WHERE " + p.column + " = '" + tag + "' ORDER BY 1) TO STDOUT", out);
        check(out, "1\n2\n\\N\n");
        out = new StringWriter();
        copies.copyOut("COPY orders TO STDOUT", out);
        check(out.toString().split("\n")[0].split("\t").length, p.star.size());
    }

    static void cursor(Phase p) throws SQLException {
        db.setAutoCommit(false);
        try (PreparedStatement select = db.prepareStatement("SELECT * FROM orders WHERE " + p.column + " = ? ORDER BY id")) {
            select.setFetchSize(100);
            select.setString(1, "seed");
            ResultSet rows = select.executeQuery();
            int count = 0;
            long last = 0;
            while (rows.next()) {
                count++;
                last = rows.getLong(2);
            }
            check(count + " " + last, "2000 2000");
        } finally {
            db.rollback();
            db.setAutoCommit(true);
        }
    }

    static void large(Phase p) throws SQLException {
        ResultSet row = query("INSERT INTO orders (amount, " + p.column + ", payload) VALUES (7, ?, ?) "
            + "RETURNING id, payload, amount", p.tag, LARGE);
        check(row.getString(2).equals(LARGE), true);
        check(row.getLong(3), 7);
        statement("DELETE FROM orders WHERE id = ?", row.getInt(1)).executeUpdate();
    }

    static void wide(Phase p) throws SQLException {
        try (PreparedStatement insert = db.prepareStatement(
            "INSERT INTO orders (amount, " + p.column + ") VALUES (?, ?) RETURNING id, amount AS wide")) {
            insert.setLong(1, 3_000_000_000L);
            insert.setString(2, p.tag);
            ResultSet row = insert.executeQuery();
            row.next();
            check(row.getLong(2), 3_000_000_000L);
            statement("DELETE FROM orders WHERE id = ?", row.getInt(1)).executeUpdate();
        }
    }

    static void cancel(Phase p) throws SQLException {
        Timer timer = new Timer();
        try (var sleep = db.createStatement()) {
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        sleep.cancel();
                    } catch (SQLException error) {
                        System.err.println(error);
                    }
                }
            }, 100);
            sleep.execute("SELECT pg_sleep(30)");
            throw new AssertionError("not cancelled");
        } catch (SQLException error) {
            check(error.getSQLState(), "57014");
        } finally {
            timer.cancel();
        }
    }

    static void notifications(Phase p) throws SQLException {
        String channel = "orders_" + MODE.toLowerCase();
        try (var listen = db.createStatement()) {
            listen.execute("LISTEN " + channel);
            listen.execute("NOTIFY " + channel + ", '" + p.tag + "'");
        }
        PGNotification[] heard = db.unwrap(PGConnection.class).getNotifications(5000);
        check(heard == null ? null : heard[0].getParameter(), p.tag);
    }

    static void reconnect(Phase p) throws SQLException {
        try (Connection other = connect(); var select = other.createStatement()) {
            ResultSet row = select.executeQuery("SELECT amount FROM orders WHERE id = " + p.id);
            row.next();
            check(row.getLong(1), 6);
        }
    }

    public static void main(String[] args) throws Exception {
        db = connect();
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("prepared", Scenario::prepared);
        steps.put("null", Scenario::nulls);
        steps.put("upsert", Scenario::upsert);
        steps.put("generated keys", Scenario::generatedKeys);
        steps.put("savepoint", Scenario::savepoint);
        steps.put("batch", Scenario::batch);
        steps.put("copy", Scenario::copy);
        steps.put("cursor", Scenario::cursor);
        steps.put("large", Scenario::large);
        steps.put("wide", Scenario::wide);
        steps.put("cancel", Scenario::cancel);
        steps.put("notify", Scenario::notifications);
        steps.put("reconnect", Scenario::reconnect);
        System.out.println("ready " + db.getMetaData().getDriverVersion());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            Phase phase = new Phase();
            phase.column = words[2];
            phase.star = Arrays.asList(words[3].split(","));
            phase.wide = words[4].equals("wide");
            phase.tag = "jdbc-" + MODE + " " + words[1];
            List<String> done = new ArrayList<>();
            List<String> errors = new ArrayList<>();
            for (var step : steps.entrySet()) {
                if (step.getKey().equals("wide") && !phase.wide) continue;
                try {
                    step.getValue().run(phase);
                    done.add(step.getKey());
                } catch (Exception | AssertionError error) {
                    errors.add(step.getKey() + ": " + String.valueOf(error.getMessage()).replace('\n', ' '));
                }
            }
            System.out.println(errors.isEmpty() ? "ok " + String.join(",", done) : "error: " + String.join("; ", errors));
        }
    }
}
