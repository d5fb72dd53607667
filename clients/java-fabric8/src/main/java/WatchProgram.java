import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ListOptions;
import io.fabric8.kubernetes.api.model.ListOptionsBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import java.util.Set;

/** Watch one ConfigMap with watch() of the fabric8 client; what it reads and prints: CONTRACT.md. */
public final class WatchProgram {
    // Beside those of the HTTP client. Without retry: it watches anew by itself.
    private static final Set<String> PROFILES = Set.of("default", "watch-timeout", "bookmarks");

    public static void main(String[] arguments) throws Exception {
        Program program = new Program(arguments[0], PROFILES);
        KubernetesClient client = program.client();
        ListOptionsBuilder options = new ListOptionsBuilder();
        if (program.profile.equals("watch-timeout")) {
            long seconds = (long) Program.number("WATCH_TIMEOUT");
            program.settings.put("watch_timeout_seconds", seconds);
            options.withTimeoutSeconds(seconds);
        }
        if (program.profile.equals("bookmarks")) {
            program.settings.put("bookmarks", true);
            options.withAllowWatchBookmarks(true);
        }
        program.started();
        try {
            watch(client, options.build());
        } catch (RuntimeException error) {
            end(error);
        }
        Thread.currentThread().join(); // events come in threads of the client's
    }

    private static void watch(KubernetesClient client, ListOptions options) {
        Program.trigger(client).watch(options, new Watcher<ConfigMap>() {
            @Override
            public void eventReceived(Action action, ConfigMap configMap) {
                if (action == Action.ADDED || action == Action.MODIFIED) {
                    Program.observed(configMap);
                }
            }

            @Override
            public void onClose(WatcherException cause) {
                end(cause);
            }
        });
    }

    private static void end(Exception error) {
        error.printStackTrace();
        System.exit(1); // threads of the client's would go on
    }
}
