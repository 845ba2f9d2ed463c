using System.Reflection;
using System.Runtime.Loader;
using Optim.Cli.Commands;
using Optim.Core;
using Optim.Kernels;
using Optim.Laws;

namespace Optim.Cli.Verification;

/// <summary>
/// An assembly of somebody else, with its own dependencies beside it. Optim's assemblies, and those whose types Optim shows, are this
/// program's: a rule there is a rule here.
/// </summary>
internal sealed class RuleAssembly : AssemblyLoadContext
{
    private static readonly Assembly[] ours =
    [
        typeof(Layout).Assembly,
        typeof(Rule).Assembly,
        typeof(Optimizer).Assembly,
        typeof(Torch).Assembly,
        typeof(Law).Assembly,
    ];

    private static readonly HashSet<string> shared =
    [
        .. ours.Select(assembly => assembly.GetName().Name!),
        .. ours.SelectMany(assembly => assembly.GetReferencedAssemblies()).Select(name => name.Name!),
    ];

    private readonly string path;
    private readonly AssemblyDependencyResolver dependencies;

    private RuleAssembly(string path)
        : base(path) => (this.path, dependencies) = (path, new AssemblyDependencyResolver(path));

    /// <summary>The public rules of an assembly, by the properties and fields that hold them, each once.</summary>
    /// <exception cref="CommandException">There is no such file, it is no assembly, it has no rules, or reading one fails.</exception>
    public static IReadOnlyList<(string Place, Rule Rule)> Rules(string file)
    {
        var path = Path.GetFullPath(file);
        if (!File.Exists(path))
            throw new CommandException($"{file}: there is no such file.");
        try
        {
            var rules = new List<(string Place, Rule Rule)>();
            foreach (var found in new RuleAssembly(path).Find())
                if (!rules.Any(known => ReferenceEquals(known.Rule, found.Rule)))
                    rules.Add(found);
            return rules.Count > 0
                ? rules
                : throw new CommandException(
                    $"{file} has no rules: they are looked for in public static properties and fields of public types that hold a Rule or several, as modules of F# have them. (Those of an F# program exist only while it runs: put them into a library.)"
                );
        }
        catch (BadImageFormatException)
        {
            throw new CommandException($"{file} is not a .NET assembly.");
        }
        catch (Exception e) when (e is TypeLoadException or MissingMemberException or FileNotFoundException or FileLoadException)
        {
            throw new CommandException(
                $"{file} could not be loaded: {e.Message.TrimEnd('.')}. It may have been built against another version of Optim than {OptimCommand.Version}, or lack what it depends on beside it."
            );
        }
    }

    /// <inheritdoc/>
    protected override Assembly? Load(AssemblyName name) =>
        shared.Contains(name.Name!) ? Default.LoadFromAssemblyName(new AssemblyName(name.Name!))
        : dependencies.ResolveAssemblyToPath(name) is { } found ? LoadFromAssemblyPath(found)
        : null;

    /// <inheritdoc/>
    protected override nint LoadUnmanagedDll(string name) =>
        dependencies.ResolveUnmanagedDllToPath(name) is { } found ? LoadUnmanagedDllFromPath(found) : 0;

    private IEnumerable<(string Place, Rule Rule)> Find()
    {
        var name = AssemblyName.GetAssemblyName(path).Name!;
        var assembly = shared.Contains(name) ? Default.LoadFromAssemblyName(new AssemblyName(name)) : LoadFromAssemblyPath(path);
        return from type in assembly.GetExportedTypes()
            where !type.ContainsGenericParameters
            from member in type.GetMembers(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly)
            from rule in Read(member)
            select ($"{type.FullName!.Replace('+', '.')}.{member.Name}", rule);
    }

    private IEnumerable<Rule> Read(MemberInfo member)
    {
        var (type, read) = member switch
        {
            PropertyInfo { CanRead: true } property when property.GetIndexParameters().Length == 0 => (
                property.PropertyType,
                () => property.GetValue(null)
            ),
            FieldInfo field => (field.FieldType, () => field.GetValue(null)),
            _ => (typeof(void), (Func<object?>)(() => null)),
        };
        if (!typeof(Rule).IsAssignableFrom(type) && !typeof(IEnumerable<Rule>).IsAssignableFrom(type))
            return [];
        try
        {
            return read() switch
            {
                Rule rule => [rule],
                IEnumerable<Rule> rules => [.. rules],
                _ => [],
            };
        }
        catch (Exception e) when (e is TargetInvocationException or TypeInitializationException)
        {
            var cause = e;
            while (cause.InnerException is { } inner)
                cause = inner;
            throw new CommandException(
                $"{Path.GetFileName(path)}: {member.DeclaringType!.FullName}.{member.Name} throws {cause.GetType().Name}: {cause.Message.TrimEnd('.')}."
            );
        }
    }
}
